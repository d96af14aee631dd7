"""Metrics. Classification: class numbers ``(N,)`` to fractions from 0 to 1; correlation: numbers ``(N,)`` to -1 to 1."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.integer]
Z_95: Final = 1.959963984540054
"""Standard normal quantile of 97.5 %."""


def accuracy(predicted: Classes, expected: Classes) -> float:
    """Return the share of inputs whose class was predicted; at least one input."""
    return float(np.mean(_same_length(predicted, expected) == expected))


def macro_f1(predicted: Classes, expected: Classes) -> float:
    """
    Return the mean F1 of the classes that were predicted or expected, each with the same weight.

    Source: van Rijsbergen, Information Retrieval, 1979; averaging as in scikit-learn's ``f1_score(average="macro")``.
    """
    predicted = _same_length(predicted, expected)
    size = int(max(predicted.max(), expected.max())) + 1
    hits = np.bincount(expected[predicted == expected], minlength=size)
    mentions = np.bincount(predicted, minlength=size) + np.bincount(expected, minlength=size)
    seen = mentions > 0
    return float(np.mean(2 * hits[seen] / mentions[seen]))


def f1(hits: NDArray[Any], mentions: NDArray[Any]) -> NDArray[Any]:
    """
    Return the F1 of how many are right, and how many are predicted plus how many expected; 0 where there are none.

    Source: van Rijsbergen, Information Retrieval, 1979.
    """
    found: NDArray[Any] = np.divide(2 * hits, mentions, out=np.zeros_like(hits), where=mentions > 0)
    return found


def accuracy_interval(share: float, count: int) -> tuple[float, float]:
    """
    Return the 95 % confidence interval of an accuracy that was measured on *count* inputs.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    assert count > 0, "an accuracy needs at least one input"
    square = Z_95**2 / count
    centre = (share + square / 2) / (1 + square)
    half = Z_95 / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """
    Return the correlation of the ranks of x and y; 0 where one of them does not vary. Equal values share their mean rank.

    Source: Spearman 1904, "The proof and measurement of association between two things".
    """
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / spread if spread > 0 else 0.0


def moments(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x, y, xx, yy and xy (N, 5), all relative to the mean of y: differences of large squares do not cancel."""
    centre = y.mean()  # which no correlation depends on
    x, y = x - centre, y - centre
    return np.stack([x, y, x * x, y * y, x * y], axis=1)


def correlation(means: NDArray[Any]) -> NDArray[Any]:
    """
    Return Pearson's correlation of means (..., 5) of ``moments``; 0 where one side does not vary.

    Source: Pearson 1895, "Note on regression and inheritance in the case of two parents".
    """
    x, y, xx, yy, xy = (means[..., index] for index in range(5))
    spread = np.sqrt(np.maximum(xx - x * x, 0) * np.maximum(yy - y * y, 0))
    found: NDArray[Any] = np.divide(xy - x * y, spread, out=np.zeros_like(spread), where=spread > 1e-12)
    return found


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1-based ranks, the mean one for equal values."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: NDArray[np.float64] = (last - (counts - 1) / 2)[group]
    return found


def _same_length(predicted: Classes, expected: Classes) -> Classes:
    assert predicted.shape == expected.shape, f"{predicted.shape} predictions for {expected.shape} inputs"
    assert len(expected) > 0, "a metric needs at least one input"
    return predicted
