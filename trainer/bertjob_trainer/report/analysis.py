"""
Where a model is right and wrong on held-out data. Pure.

Shapes: N inputs, T of their tokens that count, L tokens of one input, C outputs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bertjob_tasks.classification import softmax
from bertjob_tasks.task import IGNORED, Array, Features, Task

MOST_MISTAKES: Final = 20
MOST_POINTS: Final = 500
"""Points of a picture: more make the file large and show no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClass:
    """How well one class is found."""

    label: str
    precision: float
    recall: float
    f1: float
    expected: int
    """Held-out examples that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One wrong answer."""

    index: int
    """Which held-out input, from 0."""
    expected: str
    answered: str
    weight: str
    """How wrong: probability of the wrong answer, or the error."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """What can be told of a task's answers; whatever does not apply is empty."""

    labels: tuple[str, ...] = ()
    confusion: NDArray[np.int64] | None = None
    """(C, C): rows are what is expected, columns what was answered."""
    classes: tuple[OfClass, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    """The surest ones first."""
    points: tuple[tuple[float, float], ...] = ()
    """Expected and answered numbers."""


def analyse(task: Task[Any], features: Features, outputs: Sequence[Array], *, labels: Sequence[str]) -> Analysis:
    """Return what is worth seeing of the outputs (C,) or (L, C) for each held-out input."""
    look = _OF.get((task.reads, task.loss))
    return look(features, outputs, tuple(labels)) if look is not None else Analysis()


def _single(features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    chances = softmax(np.stack(outputs))
    return _of_classes(np.asarray(features.targets), chances, np.arange(len(chances)), labels)


def _tags(features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    """Every token that has a tag is judged as one answer."""
    counts = np.asarray(features.targets) != IGNORED
    where = np.repeat(np.arange(len(outputs)), [len(output) for output in outputs])
    return _of_classes(
        np.asarray(features.targets)[counts], softmax(np.concatenate(outputs)[counts]), where[counts], labels
    )


def _of_classes(
    expected: NDArray[Any], chances: NDArray[np.float64], where: NDArray[Any], labels: tuple[str, ...]
) -> Analysis:
    answered = chances.argmax(axis=-1)
    size = len(labels)
    confusion = np.bincount(expected * size + answered, minlength=size * size).reshape(size, size)
    sure = chances.max(axis=-1)
    wrong = np.flatnonzero(expected != answered)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST_MISTAKES]
    return Analysis(
        labels=labels,
        confusion=confusion,
        classes=_table(labels, np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)),
        mistakes=tuple(
            Mistake(
                index=int(where[row]),
                expected=labels[expected[row]],
                answered=labels[answered[row]],
                weight=f"{sure[row]:.1%}",
            )
            for row in worst
        ),
    )


def _flags(features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    logits = np.stack(outputs).astype(np.float64)
    expected, answered = np.asarray(features.targets) > 0.5, logits > 0
    hits = (expected & answered).sum(axis=0)
    error = np.where(expected != answered, np.abs(logits), 0.0).max(axis=-1)
    worst = [row for row in np.argsort(-error, kind="stable")[:MOST_MISTAKES] if error[row] > 0]
    return Analysis(
        labels=labels,
        classes=_table(labels, hits, answered.sum(axis=0), expected.sum(axis=0)),
        mistakes=tuple(
            Mistake(
                index=int(row),
                expected=_named(expected[row], labels),
                answered=_named(answered[row], labels),
                weight=f"{1 / (1 + np.exp(-error[row])):.1%}",
            )
            for row in worst
        ),
    )


def _values(features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    del labels
    expected = np.asarray(features.targets, dtype=np.float64)[:, 0]
    answered = np.stack(outputs).astype(np.float64)[:, 0]
    error = np.abs(expected - answered)
    shown = np.unique(np.linspace(0, len(expected) - 1, min(len(expected), MOST_POINTS)).astype(np.int64))
    return Analysis(
        points=tuple((float(expected[row]), float(answered[row])) for row in shown),
        mistakes=tuple(
            Mistake(
                index=int(row),
                expected=f"{expected[row]:.3g}",
                answered=f"{answered[row]:.3g}",
                weight=f"{error[row]:.3g}",
            )
            for row in np.argsort(-error, kind="stable")[:MOST_MISTAKES]
        ),
    )


def _table(
    labels: tuple[str, ...], hits: NDArray[Any], answered: NDArray[Any], expected: NDArray[Any]
) -> tuple[OfClass, ...]:
    return tuple(
        OfClass(
            label=label,
            precision=_share(right, told),
            recall=_share(right, wanted),
            f1=_share(2 * right, told + wanted),
            expected=wanted,
        )
        for label, right, told, wanted in zip(labels, hits.tolist(), answered.tolist(), expected.tolist(), strict=True)
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _named(flags: NDArray[Any], labels: tuple[str, ...]) -> str:
    return ", ".join(label for label, flag in zip(labels, flags, strict=True) if flag) or "none"


_OF: Final[dict[tuple[str, str], Callable[[Features, Sequence[Array], tuple[str, ...]], Analysis]]] = {
    ("first", "classes"): _single,
    ("first", "flags"): _flags,
    ("first", "values"): _values,
    ("tokens", "classes"): _tags,
}
"""By what the head reads and what the loss compares; other tasks have their metrics only."""
