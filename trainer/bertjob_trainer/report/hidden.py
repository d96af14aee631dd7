"""Hidden tokens of held-out texts, and what was taken for them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from bertjob_tasks.task import IGNORED, Array, Features, Task
from bertjob_trainer.report.findings import Analysis, Mixed

_MOST: Final = 20


def look(task: Task[Any], features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    """
    Return what chance gives, and which pieces were mixed up most often.

    Args:
        task: hides tokens.
        features: T tokens of N inputs.
        outputs: (T,) the piece that was answered for each token, and (N,) the order that was told of each pair, if it is one.
        labels: none.

    """
    del task, labels
    targets = np.asarray(features.targets)
    judged = targets != IGNORED
    expected, answered = targets[judged], outputs[0][judged]
    wrong = expected != answered
    pairs, times = np.unique(np.stack([expected[wrong], answered[wrong]]), axis=1, return_counts=True)
    often = np.argsort(-times, kind="stable")[:_MOST]
    return Analysis(
        chances=_chances(expected, features.gold.order),
        mixed=tuple(
            Mixed(expected=int(pairs[0, column]), answered=int(pairs[1, column]), times=int(times[column]))
            for column in often
        ),
    )


def _chances(expected: Array, order: Array | None) -> Mapping[str, float]:
    found = {"maskedAccuracy": _commonest(expected)}
    return found if order is None else {**found, "nextSentenceAccuracy": _commonest(order)}


def _commonest(values: Array) -> float:
    """Return the share of the commonest value; 0 where there is none."""
    counts = np.unique(values, return_counts=True)[1]
    return float(counts.max() / counts.sum()) if len(counts) else 0.0
