"""
Where a model is right and wrong on held-out data. Pure.

Shapes: N inputs, T of their tokens that count, L tokens of one input, C outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bertjob_tasks import metrics
from bertjob_tasks.classification import softmax
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.task import IGNORED, Array, Features, Task, answers_of
from bertjob_trainer.report import hidden, spans
from bertjob_trainer.report.findings import MOST_MISTAKES, MOST_POINTS, RANKS_OFF, Analysis, Mistake, OfClass


def analyse(task: Task[Any], features: Features, outputs: Sequence[Array], *, labels: Sequence[str]) -> Analysis:
    """
    Return what is worth seeing of a model's answers.

    Args:
        task: what was asked.
        features: the held-out inputs and what is expected.
        outputs: (C,) or (L, C) for each input; of a task that hides tokens, what ``language_evaluation.Filled.outputs`` gives.
        labels: in the order of the outputs.

    """
    look = _OF[task.loss]
    return look(task, features, outputs, tuple(labels))


def _classes(task: Task[Any], features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    if task.hides:
        return hidden.look(task, features, outputs, labels)
    if task.reads == "tokens":
        return _tags(features, outputs, labels)
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


def _flags(task: Task[Any], features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    del task
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


def _values(task: Task[Any], features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    del task, labels
    expected = np.asarray(features.targets, dtype=np.float64)[:, 0]
    answered = np.stack(outputs).astype(np.float64)[:, 0]
    error = np.abs(expected - answered)
    return Analysis(
        points=_points(expected, answered),
        weighed="how far off",
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


def _pairs(task: Task[Any], features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    """Pairs of texts: what counts is the order of their cosines, so the worst pairs are those whose rank is farthest off."""
    del labels
    expected, answered = np.asarray(features.gold), np.array(answers_of(task, features, outputs))
    off = (metrics.ranks(answered) - metrics.ranks(expected)) / max(1, len(expected) - 1)
    worst = np.argsort(-np.abs(off), kind="stable")[:MOST_MISTAKES]
    return Analysis(
        points=_points(expected, answered),
        weighed=RANKS_OFF,
        mistakes=tuple(
            Mistake(
                index=int(row),
                expected=f"{expected[row]:.2f}",
                answered=f"{answered[row]:.2f}",
                weight=f"{off[row]:+.0%}",
                read=_both(features.inputs[features.slices[row]]),
            )
            for row in worst
            if off[row]
        ),
    )


def _both(chunks: Sequence[Encoded]) -> tuple[Encoded, ...]:
    """Return the beginnings of both texts of a pair."""
    return tuple(next(item for item in chunks if item.type_ids[0] == side) for side in (0, 1))


def _points(expected: Array, answered: Array) -> tuple[tuple[float, float], ...]:
    shown = np.unique(np.linspace(0, len(expected) - 1, min(len(expected), MOST_POINTS)).astype(np.int64))
    return tuple((float(expected[row]), float(answered[row])) for row in shown)


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


_Look = Callable[[Task[Any], Features, Sequence[Array], tuple[str, ...]], Analysis]
_OF: Final[dict[str, _Look]] = {
    "classes": _classes,
    "flags": _flags,
    "values": _values,
    "cosine": _pairs,
    "contrastive": _pairs,
    "spans": spans.look,
    "words-and-order": hidden.look,
}
"""By what the loss compares."""
