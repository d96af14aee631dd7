"""Data parallelism: every process holds the whole model."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bertjob_trainer.gradients import Gradients, sparse_words
from bertjob_trainer.group import Group
from bertjob_trainer.order import dealt
from bertjob_trainer.parallel.strategy import Arithmetic, Work, backward


class Replicated:
    """One sum a step, under way during the last backward pass, in which the words of other steps have no part (``gradients``)."""

    def __init__(self, model: Any, group: Group, arithmetic: Arithmetic, *, num_flags: int) -> None:
        self._model = model
        self._group = group
        self._arithmetic = arithmetic
        self._gradients = Gradients(model, sparse_words(model), num_flags=num_flags, dtype=arithmetic.sums)

    @property
    def sent_bytes(self) -> int:
        """See ``Strategy.sent_bytes``."""
        return self._gradients.sent_bytes

    def share(self, count: int) -> tuple[int, ...]:
        """Return those dealt to this process."""
        return dealt(count, rank=self._group.rank, world=self._group.world)

    def accumulate(self, work: Work) -> float:
        """Compute the micro-batches dealt to this process."""
        mine = self.share(len(work.micro_batches))
        loss = sum(backward(self._model, work, index, self._arithmetic) for index in mine[:-1])
        if mine:
            with self._gradients.departing(self._group):
                loss += backward(self._model, work, mine[-1], self._arithmetic)
        return loss

    def sum(self, rows: Tensor, *, flags: Sequence[float]) -> list[float]:
        """See ``Strategy.sum``."""
        return self._gradients.sum(self._group, rows, flags=flags)

    def clip(self, rows: Tensor, *, max_norm: float) -> float:
        """See ``Strategy.clip``."""
        return self._gradients.clip(rows, max_norm=max_norm)

    def clear(self, rows: Tensor) -> None:
        """See ``Strategy.clear``."""
        self._gradients.clear(rows)
