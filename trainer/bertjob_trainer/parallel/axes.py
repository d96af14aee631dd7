"""
The processes of a run as a grid. Pure.

A *copy* of the model is held by ``fsdp x pipeline x tensor`` processes, ranks in a row; ``data`` copies train side by side. A
*stream* is a share of each step's micro-batches: the processes of a copy cut by tensor or pipeline follow the same one, those of
a copy cut by fsdp one each.
"""

from dataclasses import dataclass
from typing import Final

from bertjob_api.spec import Parallelism
from bertjob_tasks.errors import UnsupportedError
from bertjob_trainer.order import dealt

NAMES: Final = ("data", "fsdp", "pipeline", "tensor")
"""The grid's dimensions, the last one counting fastest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The extent of the grid; processes beyond it look on."""

    data: int
    fsdp: int
    pipeline: int
    tensor: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return the extents in the order of ``NAMES``."""
        return (self.data, self.fsdp, self.pipeline, self.tensor)

    @property
    def ways(self) -> int:
        """Return the processes of one copy of the model."""
        return self.fsdp * self.pipeline * self.tensor

    @property
    def streams(self) -> int:
        """Return into how many shares a step's micro-batches are dealt."""
        return self.data * self.fsdp

    def spot(self, rank: int) -> "Spot | None":
        """Return where a process stands; None: it looks on, since no whole copy is left for it."""
        if rank >= self.data * self.ways:
            return None
        rest, tensor = divmod(rank, self.tensor)
        rest, pipeline = divmod(rest, self.pipeline)
        data, fsdp = divmod(rest, self.fsdp)
        return Spot(data=data, fsdp=fsdp, pipeline=pipeline, tensor=tensor, stream=data * self.fsdp + fsdp)

    def share(self, spot: "Spot", count: int) -> tuple[int, ...]:
        """Return which of *count* micro-batches the process at *spot* answers for: one of those that compute one together."""
        is_first = spot.tensor == 0 and spot.pipeline == 0
        return dealt(count, rank=spot.stream, world=self.streams) if is_first else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A process's place in the grid."""

    data: int
    fsdp: int
    pipeline: int
    tensor: int
    stream: int


def axes_of(parallelism: Parallelism, *, world: int) -> Axes:
    """
    Return the grid of *world* processes.

    With ``data: -1`` as many whole copies as there is room for; processes that are left over look on, so that a job that loses
    a node goes on with one copy less.

    Raises:
        UnsupportedError: the processes are too few, or not the product of the axes.

    """
    ways = parallelism.fsdp * parallelism.pipeline * parallelism.tensor
    product = f"tensor {parallelism.tensor} x pipeline {parallelism.pipeline} x fsdp {parallelism.fsdp}"
    if world < ways:
        raise UnsupportedError(
            f"spec.training.parallelism: {product} needs {ways} processes, got {world}; raise training.replicas or "
            "training.processesPerNode, or lower an axis"
        )
    data = world // ways if parallelism.data == -1 else parallelism.data
    if parallelism.data != -1 and data * ways != world:
        raise UnsupportedError(
            f"spec.training.parallelism: data {data} x {product} is {data * ways} processes, got {world}; set data to -1 "
            "or change training.replicas or training.processesPerNode"
        )
    return Axes(data=data, fsdp=parallelism.fsdp, pipeline=parallelism.pipeline, tensor=parallelism.tensor)
