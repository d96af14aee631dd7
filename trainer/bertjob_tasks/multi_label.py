"""Any number of labels for each text or pair, each decided for itself. Shapes: N inputs, C labels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bertjob_tasks import columns, metrics
from bertjob_tasks import labels as task_labels
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.errors import Place
from bertjob_tasks.readers import Example, refuse_unknown
from bertjob_tasks.task import Answer, Array, Asked, Column, Features, Windows, is_finite_like
from bertjob_tasks.texts import TextTask, scores_column


class MultiLabel(TextTask[tuple[str, ...]]):
    """Multi-label classification; judged by micro F1. Statistics of an input: labels that are hit, given, and expected."""

    problem = "multi-label"
    loss = "flags"
    metric = "microF1"
    problem_type = "multi_label_classification"
    outputs: ClassVar = {"labels": "BYTES"}

    def label(
        self, row: Mapping[str, Any], place: Place, column: str, *, labels: Sequence[str] | None
    ) -> tuple[str, ...]:
        """Return the row's labels."""
        found = columns.labels(row, place, column)
        refuse_unknown(found, labels, place)
        return found

    def discover(self, examples: Iterable[Example[tuple[str, ...]]]) -> tuple[str, ...]:
        """Return the sorted labels of all rows."""
        return task_labels.distinct(label for example in examples for label in example.label)

    def targets(self, examples: Sequence[Example[tuple[str, ...]]], labels: Sequence[str]) -> Array:
        """Return 1 where a label holds, else 0, (N, C) float32."""
        return np.array([[label in example.label for label in labels] for example in examples], dtype=np.float32)

    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[int, ...]:
        """Return 1 for each label that is given, else 0, (C,)."""
        del tokens
        return tuple(int(value) for value in outputs[0] >= 0)  # a logit of 0 is a probability of 0.5

    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """Return how many labels are hit, given and expected, (N, 3)."""
        given = np.array(answers, dtype=bool).reshape(features.targets.shape)
        expected = features.targets > 0
        return np.stack([(given & expected).sum(1), given.sum(1), expected.sum(1)], axis=1).astype(np.float64)

    def combine(self, means: Array) -> Array:
        """Return the micro F1."""
        return metrics.f1(means[..., 0], means[..., 1] + means[..., 2])

    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return ``microF1`` and ``exactMatch``, the share of texts with all labels right and none wrong."""
        found = self.statistics(features, answers)
        exact = (found[:, 0] == found[:, 1]) & (found[:, 0] == found[:, 2])
        return {"microF1": float(self.combine(found.mean(axis=0))), "exactMatch": float(exact.mean())}

    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """Return ``labels``, and the probability of every label when asked for."""
        del asked
        chances = _sigmoid(outputs[0])
        answer: dict[str, Any] = {
            "labels": [label for label, given in zip(labels, self.reduce(outputs, tokens), strict=True) if given]
        }
        return {**answer, "scores": dict(zip(labels, chances.tolist(), strict=True))} if with_scores else answer

    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> dict[str, Column]:
        """Return ``labels``, joined by ``|``, and ``scores`` (N, C) where they are."""
        count = len(answers)
        joined = [columns.SEPARATOR.join(item["labels"]) for item in answers]
        return {"labels": ("BYTES", [count], joined), **scores_column(answers, labels)}

    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether every probability is within *tolerance*."""
        if not is_finite_like(recorded, got):
            return False
        return bool(np.abs(_sigmoid(got) - _sigmoid(recorded)).max() <= tolerance)


def _sigmoid(logits: Array) -> Array:
    """Return probabilities; written with tanh, which never overflows."""
    return (1 + np.tanh(logits.astype(np.float64) / 2)) / 2
