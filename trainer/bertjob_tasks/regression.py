"""One number for each text or pair, such as how alike two sentences are. Shapes: N inputs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bertjob_tasks import columns, metrics
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.errors import DataError, Place
from bertjob_tasks.readers import Example
from bertjob_tasks.task import Answer, Array, Asked, Column, Features, Windows, is_finite_like
from bertjob_tasks.texts import TextTask


class Regression(TextTask[float]):
    """
    Regression; judged by Pearson's correlation.

    Statistics of an input are its answer x and its target y with xx, yy and xy, all relative to the targets' mean.
    """

    problem = "regression"
    loss = "values"
    has_labels = False
    metric = "pearson"
    problem_type = "regression"
    outputs: ClassVar = {"value": "FP32"}

    def label(self, row: Mapping[str, Any], place: Place, column: str, *, labels: Sequence[str] | None) -> float:
        """Return the row's number."""
        del labels
        return columns.number(row, place, column)

    def discover(self, examples: Iterable[Example[float]]) -> tuple[str, ...]:
        """Return no label; raises DataError when all numbers are the same."""
        if len({example.label for example in examples}) < 2:
            raise DataError("training data: has the same number in every row, expected different ones; check spec.data")
        return ()

    def width(self, labels: Sequence[str]) -> int:
        """Return 1."""
        del labels
        return 1

    def targets(self, examples: Sequence[Example[float]], labels: Sequence[str]) -> Array:
        """Return the numbers, (N, 1) float32."""
        del labels
        return np.array([[example.label] for example in examples], dtype=np.float32)

    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[float, ...]:
        """Return the number."""
        del tokens
        return (float(outputs[0][0]),)

    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """Return x, y, xx, yy and xy of each input, (N, 5)."""
        return metrics.moments(np.array(answers, dtype=np.float64), features.targets[:, 0].astype(np.float64))

    def combine(self, means: Array) -> Array:
        """Return Pearson's correlation of means (..., 5); 0 where one side does not vary."""
        return metrics.correlation(means)

    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return ``pearson``, ``spearman`` and the root of the mean squared error ``rmse``."""
        x, y = np.array(answers, dtype=np.float64), features.targets[:, 0].astype(np.float64)
        return {
            "pearson": float(self.combine(self.statistics(features, answers).mean(axis=0))),
            "spearman": metrics.spearman(x, y),
            "rmse": float(np.sqrt(np.mean((x - y) ** 2))),
        }

    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """Return ``value``."""
        del tokens, asked, labels, with_scores
        return {"value": float(outputs[0][0])}

    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> dict[str, Column]:
        """Return ``value``."""
        del labels
        return {"value": ("FP32", [len(answers)], [item["value"] for item in answers])}

    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether the number is within *tolerance*, relative where it is above 1."""
        if not is_finite_like(recorded, got):
            return False
        return bool((np.abs(got - recorded) <= tolerance * np.maximum(1, np.abs(recorded))).all())
