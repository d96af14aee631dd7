"""
The part of every tensor that this process holds, and the way from parts to whole tensors and back.

Whole tensors have the names and shapes of the model that is not cut, so what one strategy saves another one reads.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from bertjob_trainer.group import Group, peers_blamed
from bertjob_trainer.parallel.axes import Axes, Spot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A parameter of which this process holds something."""

    parameter: nn.Parameter
    """In the cut model: plain, or a DTensor."""
    local: nn.Parameter
    """What is here of it, in the same memory; the optimizer steps it."""

    @property
    def is_cut(self) -> bool:
        """Return whether other processes hold other rows or columns of it."""
        return isinstance(self.parameter, DTensor) and any(isinstance(how, Shard) for how in self.parameter.placements)

    def whole(self, local: Tensor) -> Tensor:
        """Return the whole of a tensor that is cut as the parameter is, *local* being what is here; collective in its copy."""
        if not isinstance(self.parameter, DTensor):
            return local
        parameter: Any = self.parameter
        return DTensor.from_local(
            local,
            parameter.device_mesh,
            parameter.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        ).full_tensor()

    def cut(self, whole: Tensor) -> Tensor:
        """Return what this process holds of a *whole* tensor."""
        if not isinstance(self.parameter, DTensor):
            return whole
        parameter: Any = self.parameter
        placed = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
        return placed.to_local()


def part_of(parameter: nn.Parameter) -> Part:
    """Return the part that this process has of a parameter of a cut model."""
    held = parameter.detach()
    local = nn.Parameter(held.to_local()) if isinstance(held, DTensor) else parameter
    return Part(parameter=parameter, local=local)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """What a whole model consists of, and who holds what."""

    axes: Axes
    spot: Spot | None
    skeleton: nn.Module
    """The model that is not cut, without memory."""
    aliases: Mapping[str, str]
    """Every name of a parameter, to the first name of the same one."""
    holders: Mapping[str, int]
    """The pipeline stage of each parameter."""

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Return names and whole shapes, each parameter once, in the model's order."""
        parameters = dict(self.skeleton.named_parameters(remove_duplicate=False))
        return {name: parameters[name].shape for name in dict.fromkeys(self.aliases.values())}

    def is_held(self, name: str) -> bool:
        """Return whether this process holds a part of a parameter."""
        return self.spot is not None and self.holders[name] == self.spot.pipeline


def layout_of(model: nn.Module, *, axes: Axes, spot: Spot | None, holders: Mapping[str, int]) -> Layout:
    """Return the layout of a whole *model*, before it is cut."""
    first = {id(parameter): name for name, parameter in reversed(list(model.named_parameters()))}
    aliases = {name: first[id(each)] for name, each in model.named_parameters(remove_duplicate=False)}
    skeleton = copy.deepcopy(model).to("meta")
    return Layout(axes=axes, spot=spot, skeleton=skeleton, aliases=aliases, holders=holders)


def gather(
    layout: Layout, part: Part | None, local: Tensor | None, *, name: str, device: torch.device
) -> Tensor | None:
    """
    Return the whole of one tensor in rank 0, None elsewhere; every process calls this.

    Args:
        layout: the model's.
        part: what this process holds of the parameter *name*; None: nothing.
        local: what it holds of the tensor, which is cut like the parameter.
        name: of the parameter.
        device: where the group's tensors lie.

    """
    spot, stage = layout.spot, layout.holders[name]
    if spot is None or spot.data != 0:
        return None
    found = None
    with peers_blamed():
        if part is not None and local is not None:
            found = part.whole(local)
        if stage == 0:
            return found if _is_first(spot) else None
        if spot.pipeline == stage and spot.tensor == 0 and found is not None:
            distributed.send(found.contiguous(), dst=0)
        if _is_first(spot):
            found = torch.empty(layout.shapes[name], device=device)
            distributed.recv(found, src=stage * layout.axes.tensor)
            return found
    return None


def _is_first(spot: Spot) -> bool:
    return (spot.data, spot.fsdp, spot.pipeline, spot.tensor) == (0, 0, 0, 0)


def spread(whole: Tensor | None, shape: torch.Size, *, group: Group, device: torch.device) -> Tensor:
    """Return rank 0's *whole* tensor in every process; the others pass None."""
    tensor = torch.empty(shape, device=device) if whole is None else whole.to(device).contiguous()
    group.broadcast(tensor)
    return tensor


def parts_of(model: nn.Module, layout: Layout) -> Iterator[tuple[str, Part]]:
    """Yield name and part of every parameter that this process holds of a cut *model*."""
    for name, parameter in model.named_parameters():
        if layout.is_held(name):
            yield name, part_of(parameter)
