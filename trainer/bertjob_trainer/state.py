"""Everything that must survive a restart, named in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from bertjob_trainer import optim
from bertjob_trainer.course import Course

_MOMENTS: Final = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True, kw_only=True)
class TrainState:
    """
    Model, optimizer, position and the way there.

    Data order and dropout are functions of the step, so no generator's state is part of it.
    """

    model: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    """Optimizer steps that the model contains."""
    course: Course = field(default_factory=Course)
    """How it came there."""

    @classmethod
    def start(cls, model: nn.Module, *, weight_decay: float) -> Self:
        """Return the state before the first step."""
        return cls(model=model, optimizer=optim.adamw(model.named_parameters(), weight_decay=weight_decay))

    def tensors(self) -> dict[str, Tensor]:
        """Return the live tensors by name; they change with the next step."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            found[f"model.{name}"] = parameter.detach()
            moments = self.optimizer.state[parameter]
            found.update({f"optimizer.{kind}.{name}": moments[kind] for kind in _MOMENTS})
        return found

    def meta(self) -> dict[str, Any]:
        """Return what is not a tensor, as JSON values."""
        return {"step": self.step, "course": self.course.to_json()}

    def restore(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Overwrite the state with a saved one of the same model, in place."""
        own = self.tensors()
        assert own.keys() == tensors.keys(), f"state differs in {sorted(own.keys() ^ tensors.keys())[:5]}"
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])
        self.move_to(int(meta["step"]))
        self.course = Course.from_json(meta.get("course", ()))

    def take_model(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite the weights with those of a saved state of the same model, and leave the rest."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])

    def move_to(self, step: int) -> None:
        """Say that the tensors contain *step* optimizer steps."""
        self.step = step
        for moments in self.optimizer.state.values():
            moments["step"].fill_(float(step))
