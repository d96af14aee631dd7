"""
Measured figures with the range in which the true ones lie.

Both bounds are one-sided at 95 %, by bootstrap with a fixed seed: the same measurements give the same bounds.
Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile intervals).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

RESAMPLES: Final = 10_000
CONFIDENCE: Final = 0.95
_SEED: Final = 20190524
_RESAMPLES_AT_ONCE: Final = 100
"""So that the weights of all examples fit the memory however many there are."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its bounds."""

    value: float
    low: float
    high: float

    def divided(self, number: float) -> "Estimate":
        """Return the figure over a positive *number*."""
        return Estimate(self.value / number, self.low / number, self.high / number)

    def __str__(self) -> str:
        """Return the figure for messages."""
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def accuracy_drop(reference: Array, candidate: Array) -> Estimate:
    """
    Return how much accuracy is lost from *reference* to *candidate*.

    Resampling cannot show a loss that no example of the sample had, so the upper bound is at least the loss that N examples
    miss with probability 5 %: 1 - 0.05 ** (1 / N), about 3 / N (Source: Hanley and Lippman-Hand 1983, "If nothing goes wrong,
    is everything all right?"). A small held-out set cannot prove a small loss.

    Args:
        reference: whether each example is answered right, (N,) bool, N > 0.
        candidate: the same examples in the same order.

    """
    assert reference.shape == candidate.shape, f"{reference.shape} and {candidate.shape} are not paired"
    count = len(reference)
    assert count > 0, "a drop needs at least one example"
    lost = int(np.sum(reference & ~candidate))
    won = int(np.sum(~reference & candidate))
    # Resampling pairs is drawing how many of each kind: lost, won, same.
    kinds = np.array([lost, won, count - lost - won]) / count
    drawn = np.random.default_rng(_SEED).multinomial(count, kinds, size=RESAMPLES)
    drops = (drawn[:, 0] - drawn[:, 1]) / count
    low, high = np.quantile(drops, [1 - CONFIDENCE, CONFIDENCE])
    unseen = 1 - (1 - CONFIDENCE) ** (1 / count)
    return Estimate((lost - won) / count, float(low), max(float(high), unseen))


def metric_drop(reference: Array, candidate: Array, *, combine: Callable[[Array], Array]) -> Estimate:
    """
    Return how much of a metric is lost from *reference* to *candidate*.

    Examples are resampled in pairs. As in ``accuracy_drop``, the upper bound is at least the share of examples that could be
    lost unseen.

    Args:
        reference: statistics (N, K) of each example, N > 0, whose means give the metric.
        candidate: the same of the same examples in the same order.
        combine: the metrics (...) of means (..., K).

    """
    assert reference.shape == candidate.shape, f"{reference.shape} and {candidate.shape} are not paired"
    count = len(reference)
    if reference.shape[1] == 1 and np.isin(reference, (0, 1)).all() and np.isin(candidate, (0, 1)).all():
        return accuracy_drop(reference[:, 0] > 0, candidate[:, 0] > 0)
    rng, shares = np.random.default_rng(_SEED), np.full(count, 1 / count)
    drops: list[float] = []
    while len(drops) < RESAMPLES:
        weights = rng.multinomial(count, shares, size=_RESAMPLES_AT_ONCE) / count
        drops.extend((combine(weights @ reference) - combine(weights @ candidate)).tolist())
    low, high = np.quantile(drops, [1 - CONFIDENCE, CONFIDENCE])
    value = float(combine(reference.mean(axis=0)) - combine(candidate.mean(axis=0)))
    return Estimate(value, float(low), max(float(high), 1 - (1 - CONFIDENCE) ** (1 / count)))


def metric_value(statistics: Array, *, combine: Callable[[Array], Array]) -> Estimate:
    """
    Return a metric with its bounds.

    Args:
        statistics: (N, K) of each example, N > 0, whose means give the metric.
        combine: the metrics (...) of means (..., K).

    """
    rng, count = np.random.default_rng(_SEED), len(statistics)
    shares, values = np.full(count, 1 / count), list[float]()
    while len(values) < RESAMPLES // 10:  # shown only; no verdict hangs on the third digit of these bounds
        weights = rng.multinomial(count, shares, size=_RESAMPLES_AT_ONCE) / count
        values.extend(combine(weights @ statistics).tolist())
    low, high = np.quantile(values, [1 - CONFIDENCE, CONFIDENCE])
    return Estimate(float(combine(statistics.mean(axis=0))), float(low), float(high))


def typical(values: Sequence[float]) -> Estimate:
    """Return the median of *values* (at least one), such as the speed-up of each round."""
    array = np.array(values)
    picks = np.random.default_rng(_SEED).integers(0, len(array), size=(RESAMPLES, len(array)))
    medians = np.median(array[picks], axis=1)
    low, high = np.quantile(medians, [1 - CONFIDENCE, CONFIDENCE])
    return Estimate(float(np.median(array)), float(low), float(high))


def examples_needed(limit: float) -> int:
    """Return how many held-out examples can prove a loss of at most *limit*, when not one of them is lost; limit in (0, 1)."""
    return int(np.ceil(np.log(1 - CONFIDENCE) / np.log(1 - limit)))
