"""The training state of a process that holds a part of the model."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor, nn

from bertjob_trainer import optim
from bertjob_trainer.group import Group
from bertjob_trainer.parallel.grid import Grid
from bertjob_trainer.parallel.shards import Layout, Part, gather, parts_of, spread
from bertjob_trainer.state import MOMENTS, TrainState, refuse_another_shape

_KINDS: Final = ("model", *(f"optimizer.{moment}" for moment in MOMENTS))


@dataclass(slots=True, kw_only=True)
class SplitState(TrainState):
    """``TrainState`` whose tensors are parts; the whole ones pass through one process at a time."""

    layout: Layout
    parts: Mapping[str, Part]
    group: Group
    device: torch.device
    grid: Grid

    @classmethod
    def of(cls, model: nn.Module, layout: Layout, *, group: Group, grid: Grid, weight_decay: float, device: torch.device) -> Self:  # fmt: skip
        """Return the state of a cut model before the first step."""
        parts = dict(parts_of(model, layout))
        local = [(name, part.local) for name, part in parts.items()]
        optimizer = optim.adamw(local, weight_decay=weight_decay)
        return cls(model=model, optimizer=optimizer, layout=layout, parts=parts, group=group, device=device, grid=grid)

    @property
    def is_split(self) -> bool:
        """Return True: other processes hold what is missing here, so nobody can go on without them."""
        return True

    def tensors(self) -> dict[str, Tensor]:
        """Return the parts held here by name, live."""
        return {f"{kind}.{name}": tensor for name in self.parts for kind, tensor in self._kinds(name).items()}

    def gathered(self) -> dict[str, Tensor]:
        """Return copies of the whole tensors in rank 0, nothing elsewhere; every process calls this."""
        found: dict[str, Tensor] = {}
        for name in self.layout.shapes:
            kinds = self._kinds(name)
            for kind in _KINDS:
                whole = self._gather(name, kinds.get(kind))
                if whole is not None:
                    found[f"{kind}.{name}"] = whole.cpu()
        return found

    def fill(self, tensors: Mapping[str, Tensor] | None, step: int, *, group: Group) -> None:
        """Cut rank 0's whole tensors into everybody's parts; the others pass None. Raises CorruptError for another model's."""
        if tensors is not None:
            shapes = self.layout.shapes.items()
            refuse_another_shape({f"{kind}.{name}": shape for name, shape in shapes for kind in _KINDS}, tensors)
        for name, shape in self.layout.shapes.items():
            kinds = self._kinds(name)
            for kind in _KINDS:
                given = tensors[f"{kind}.{name}"] if tensors is not None else None
                whole = spread(given, shape, group=group, device=self.device)
                if name in self.parts:
                    kinds[kind].copy_(self.parts[name].cut(whole))
        self.move_to(step)

    def whole_model(self) -> nn.Module:
        """Return a copy of the model that is not cut, the same in every process, which all call this."""
        model = copy.deepcopy(self.layout.skeleton).to_empty(device=self.device)
        parameters = dict(model.named_parameters(remove_duplicate=False))
        whole = {}
        for name, shape in self.layout.shapes.items():
            gathered = self._gather(name, self._kinds(name).get("model"))
            whole[name] = spread(gathered, shape, group=self.group, device=self.device)
        with torch.no_grad():
            for alias, name in self.layout.aliases.items():
                parameters[alias].copy_(whole[name])
        return model

    def _gather(self, name: str, local: Tensor | None) -> Tensor | None:
        return gather(self.layout, self.parts.get(name), local, name=name, device=self.device)

    def _kinds(self, name: str) -> dict[str, Tensor]:
        """Return what is held here of a parameter and of its moments."""
        part = self.parts.get(name)
        if part is None:
            return {}
        moments = self.optimizer.state[part.local]
        return {"model": part.local.detach(), **{f"optimizer.{kind}": moments[kind] for kind in MOMENTS}}
