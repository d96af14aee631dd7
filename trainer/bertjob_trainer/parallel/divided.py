"""A step whose copy of the model is spread over several processes."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bertjob_trainer.group import Group, peers_blamed
from bertjob_trainer.order import dealt
from bertjob_trainer.parallel.sharded import summed
from bertjob_trainer.parallel.strategy import Passes, Work, backward


class SumsAndClips(Protocol):
    """Gradients after the passes of a step; see ``Strategy``."""

    @property
    def sent_bytes(self) -> int | None: ...  # noqa: D102
    def sum(self, rows: Tensor, *, flags: Sequence[float]) -> list[float]: ...  # noqa: D102
    def clip(self, rows: Tensor, *, max_norm: float) -> float: ...  # noqa: D102
    def clear(self, rows: Tensor) -> None: ...  # noqa: D102


class Divided:
    """Passes of one strategy, and what becomes of their gradients."""

    def __init__(
        self, passes: Callable[[Work], float], gradients: SumsAndClips, *, share: Callable[[int], tuple[int, ...]]
    ) -> None:
        """Prepare; *share* tells which of so many micro-batches this process answers for (``Strategy.share``)."""
        self._passes = passes
        self.share = share
        self._gradients = gradients
        self.sum = gradients.sum
        self.clip = gradients.clip
        self.clear = gradients.clear

    @property
    def sent_bytes(self) -> int | None:
        """See ``Strategy.sent_bytes``; what moves within a copy is not counted."""
        return self._gradients.sent_bytes

    def accumulate(self, work: Work) -> float:
        """Compute this process's part; its peers are needed for that already. See ``Strategy.accumulate``."""
        with peers_blamed():
            return self._passes(work)


class SharedPasses(Passes):
    """Forward and backward of micro-batches whose layers other processes compute along."""

    def __call__(self, work: Work) -> float:
        """Add the gradients of this copy's micro-batches; the first process of the copy returns their share of the loss."""
        mine = dealt(len(work.micro_batches), rank=self._spot.stream, world=self._axes.streams)
        loss = sum(backward(self._model, work, index, self._arithmetic) for index in mine)
        return loss if self._spot.tensor == 0 else 0.0


class Onlooker:
    """A process for which no whole copy is left: it only says what it wants and hears what others do."""

    sent_bytes = 0

    def __init__(self, world: Group, *, device: torch.device) -> None:
        self._world = world
        self._device = device

    def share(self, count: int) -> tuple[int, ...]:  # noqa: ARG002
        """Return none."""
        return ()

    def accumulate(self, work: Work) -> float:  # noqa: ARG002
        """Compute nothing."""
        return 0.0

    def sum(self, rows: Tensor, *, flags: Sequence[float]) -> list[float]:  # noqa: ARG002
        """Return the sums of *flags*."""
        return summed(flags, self._world, device=self._device)

    def clip(self, rows: Tensor, *, max_norm: float) -> float:  # noqa: ARG002
        """Return the norm of the gradients that the others have."""
        (total,) = summed([0.0], self._world, device=self._device)
        return math.sqrt(total)

    def clear(self, rows: Tensor) -> None:
        """Clear nothing."""
