"""One label for each text or pair."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bertjob_tasks import classification, columns, metrics
from bertjob_tasks import labels as task_labels
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.errors import Place
from bertjob_tasks.readers import Example, refuse_unknown
from bertjob_tasks.task import Answer, Array, Asked, Column, Features, Windows, is_finite_like
from bertjob_tasks.texts import TextTask, scores_column


class SingleLabel(TextTask[str]):
    """Classification; judged by accuracy. An input's only statistic is whether its class is right."""

    metric = "accuracy"
    problem_type = "single_label_classification"
    outputs: ClassVar = {"label": "BYTES", "score": "FP32"}

    def label(self, row: Mapping[str, Any], place: Place, column: str, *, labels: Sequence[str] | None) -> str:
        """Return the row's label."""
        found = columns.label(row, place, column)
        refuse_unknown((found,), labels, place)
        return found

    def discover(self, examples: Iterable[Example[str]]) -> tuple[str, ...]:
        """Return the sorted labels."""
        return task_labels.discover(examples)

    def targets(self, examples: Sequence[Example[str]], labels: Sequence[str]) -> Array:
        """Return class numbers (N,)."""
        return task_labels.numbers(examples, labels)

    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[int, ...]:
        """Return the class number; of equal outputs the first."""
        del tokens
        return (int(outputs[0].argmax()),)

    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """Return 1 where the class is right, (N, 1)."""
        right: Array = (np.array(answers) == features.targets).astype(np.float64)[:, None]
        return right

    def combine(self, means: Array) -> Array:
        """Return the accuracy."""
        found: Array = means[..., 0]
        return found

    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return ``accuracy`` and ``macroF1``."""
        predicted = np.array(answers, dtype=np.int64)
        return {
            "accuracy": metrics.accuracy(predicted, features.targets),
            "macroF1": metrics.macro_f1(predicted, features.targets),
        }

    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """Return ``label`` and ``score``, and the probability of every label when asked for."""
        del tokens, asked
        (found,) = classification.decode(outputs[0][None], labels)
        answer: dict[str, Any] = {"label": found.label, "score": found.score}
        return {**answer, "scores": dict(zip(labels, found.scores, strict=True))} if with_scores else answer

    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> dict[str, Column]:
        """Return ``label`` and ``score``, and ``scores`` (N, C) where they are."""
        count = len(answers)
        return {
            "label": ("BYTES", [count], [item["label"] for item in answers]),
            "score": ("FP32", [count], [item["score"] for item in answers]),
            **scores_column(answers, labels),
        }

    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether every probability is within *tolerance*."""
        if not is_finite_like(recorded, got):
            return False
        return bool(np.abs(classification.softmax(got) - classification.softmax(recorded)).max() <= tolerance)
