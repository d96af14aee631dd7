"""
What the micro-batches of one step are, in the same words for every task; some tasks hide tokens anew in each step.

What is hidden is a function of seed, epoch, step and micro-batch, so it is the same for any number of processes and after a
resume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bertjob_tasks import masking
from bertjob_tasks.masking import Masked, Pieces
from bertjob_trainer.data import Batch, Dataset
from bertjob_trainer.order import Samples


@dataclass(frozen=True, slots=True, eq=False)
class Hiding:
    """Which tokens are hidden while training."""

    pieces: Pieces
    rate: float
    whole_words: bool
    with_order: bool
    """Each input has a class of its own, too: whether its second text comes after its first one."""


class StepData:
    """The micro-batches of one step."""

    def __init__(
        self, data: Dataset, micro_batches: Sequence[Samples], *, hiding: Hiding | None, key: tuple[int, ...]
    ) -> None:
        """*hiding* None: nothing is hidden; *key*: seed, epoch and step."""
        self._data, self.micro_batches = data, micro_batches
        self._hiding, self._key = hiding, key

    @cached_property
    def num_targets(self) -> tuple[int, ...]:
        """Return over how many targets each part of the loss is the mean of, in the whole step."""
        samples = np.concatenate(self.micro_batches)
        if self._hiding is None:
            return (self._data.num_targets(samples),)
        chosen = max(1, sum(len(hidden.chosen) for hidden in self._hidden))
        return (chosen, len(samples)) if self._hiding.with_order else (chosen,)

    @property
    def words(self) -> NDArray[np.int64]:
        """Return the distinct token ids of the whole step, ascending, before anything is hidden."""
        return self._data.words_of(np.concatenate(self.micro_batches))

    def batch(self, index: int, *, device: torch.device) -> Batch:
        """Return one micro-batch."""
        samples = self.micro_batches[index]
        if self._hiding is None:
            return self._data.batch(samples, device=device)
        return self._data.hidden_batch(samples, self._hidden[index], device=device, with_labels=self._hiding.with_order)

    @cached_property
    def _hidden(self) -> list[Masked]:
        hiding = self._hiding
        assert hiding is not None
        return [
            masking.masked(
                self._data.tokens_of(samples),
                self._data.lengths_of(samples),
                hiding.pieces,
                key=(*self._key, index),
                rate=hiding.rate,
                whole_words=hiding.whole_words,
            )
            for index, samples in enumerate(self.micro_batches)
        ]
