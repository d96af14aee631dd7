"""Single-label classification: logits to labels. Shapes: N inputs, C classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one input."""

    label: str
    score: float
    """Probability of the label, 0 to 1."""
    scores: tuple[float, ...]
    """Probability of every class, in the order of the labels; they add up to 1."""


def softmax(logits: Floats) -> NDArray[np.float64]:
    """
    Return probabilities ``(N, C)`` of logits ``(N, C)``.

    The largest logit is subtracted first, so that exp never overflows whatever the logits are.
    """
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def decode(logits: Floats, labels: Sequence[str]) -> list[Prediction]:
    """
    Return the prediction for each row of logits ``(N, C)``; of equal scores the first label wins.

    Raises:
        ValueError: the logits have another number of classes than there are labels.

    """
    if logits.ndim != 2 or logits.shape[1] != len(labels):
        raise ValueError(
            f"logits: have shape {logits.shape}, expected (N, {len(labels)}); the labels belong to another model"
        )
    probabilities = softmax(logits)
    return [
        Prediction(labels[top], float(row[top]), tuple(map(float, row)))
        for row, top in zip(probabilities, probabilities.argmax(axis=-1), strict=True)
    ]
