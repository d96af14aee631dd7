"""
Which samples train when: a pure function of seed and step, never of who trains.

A step is one optimizer step over a global batch, cut into micro-batches. Micro-batches are dealt to however many processes
there are, so a run that grows or shrinks between two steps trains on the same samples in the same order.

Samples of like length share a micro-batch, so that little is padded: the samples of a *window* of steps are sorted by length
and cut into micro-batches; each step gets one from every length class, so that all steps cost about the same.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bertjob_tasks.draws import random_numbers

Samples = NDArray[np.int64]
WINDOW_STEPS: Final = 8
"""Longer windows pad less: 28 % in windows of 1 step, 4 % of 8, 1 % of 32 (measured: 4 x 8 news texts of 44 tokens)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """The whole training run, addressed by global step."""

    seed: int
    epochs: int
    batch_size: int
    """Samples per step, a multiple of the micro-batch; the last step of an epoch may have fewer."""
    micro_batch_size: int
    lengths: NDArray[np.int64]
    """(N,) tokens of each sample."""

    @property
    def num_samples(self) -> int:
        """Return the samples of one epoch."""
        return len(self.lengths)

    @property
    def steps_per_epoch(self) -> int:
        """Return the optimizer steps of one epoch."""
        return -(-self.num_samples // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Return the optimizer steps of the run."""
        return self.epochs * self.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """Return the epoch that a step is in, from 0."""
        return step // self.steps_per_epoch

    def micro_batches(self, step: int) -> tuple[Samples, ...]:
        """Return the samples of each micro-batch of a step, the longest first; only the last may be short."""
        epoch, index = divmod(step, self.steps_per_epoch)
        order = epoch_order(self.seed, epoch, self.num_samples)
        full_steps = self.num_samples // self.batch_size
        if index == full_steps:  # the short step at the end of the epoch is grouped for itself
            return self._cut(order[index * self.batch_size :])
        window, place = divmod(index, WINDOW_STEPS)
        first = window * WINDOW_STEPS
        steps = min(WINDOW_STEPS, full_steps - first)
        cut = self._cut(order[first * self.batch_size : (first + steps) * self.batch_size])
        classes = len(cut) // steps
        turns = random_numbers(classes * steps, self.seed, epoch, window).reshape(classes, steps).argsort(axis=1)
        return tuple(cut[number * steps + turns[number, place]] for number in range(classes))

    def samples_before(self, step: int) -> int:
        """Return how many samples the steps before *step* have trained on."""
        epochs, index = divmod(step, self.steps_per_epoch)
        return epochs * self.num_samples + min(index * self.batch_size, self.num_samples)

    def _cut(self, samples: Samples) -> tuple[Samples, ...]:
        longest_first = samples[np.argsort(-self.lengths[samples], kind="stable")]
        size = self.micro_batch_size
        return tuple(longest_first[start : start + size] for start in range(0, len(samples), size))


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, num_samples: int) -> Samples:
    """Return the permutation of ``range(num_samples)`` in which one epoch sees them."""
    return np.argsort(random_numbers(num_samples, seed, epoch), kind="stable").astype(np.int64)


def dealt(count: int, *, rank: int, world: int) -> tuple[int, ...]:
    """
    Return which of *count* micro-batches, the longest first, one process computes.

    Dealt forth and back (0 1 2 2 1 0 ...), since all wait for the process with the most tokens.
    """
    cycle = (*range(world), *reversed(range(world)))
    return tuple(index for index in range(count) if cycle[index % len(cycle)] == rank)
