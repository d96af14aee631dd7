"""What the tasks on whole texts share: a text or a pair of texts in, one row of outputs out. Shapes as in ``task``."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bertjob_api.spec import Columns, Data
from bertjob_tasks import columns, readers
from bertjob_tasks.encoding import Encoded, Encoder
from bertjob_tasks.errors import Place
from bertjob_tasks.readers import Example
from bertjob_tasks.task import SECOND, TEXT, Answer, Array, Asked, Column, Features, Task, Windows

L = TypeVar("L")


def scores_column(answers: Sequence[Answer], labels: Sequence[str]) -> dict[str, Column]:
    """Return ``scores`` (N, C) of answers that have the probability of every label, or nothing."""
    if not answers or "scores" not in answers[0]:
        return {}
    flat = [item["scores"][label] for item in answers for label in labels]
    return {"scores": ("FP32", [len(answers), len(labels)], flat)}


class TextTask(Task[Example[L]]):
    """A task on texts, or on pairs of them."""

    architecture = "BertForSequenceClassification"

    def __init__(self, name: str) -> None:
        """Take the task's name: ``sentence-pair`` reads two texts, every other name one."""
        self.name = name
        self.is_pair = name == "sentence-pair"
        self.inputs = (TEXT, SECOND) if self.is_pair else (TEXT,)

    @abstractmethod
    def label(self, row: Mapping[str, Any], place: Place, column: str, *, labels: Sequence[str] | None) -> L:
        """Return what the row says of its text; raises RowError."""

    @abstractmethod
    def targets(self, examples: Sequence[Example[L]], labels: Sequence[str]) -> Array:
        """Return (N,) or (N, C) for the loss."""

    def read(self, path: Path, data: Data, *, labels: Sequence[str] | None) -> Iterator[Example[L]]:
        """Yield the examples; see ``Task.read``."""

        def parse(row: Mapping[str, Any], place: Place) -> Example[L]:
            text = columns.text(row, place, data.columns.text)
            second = self._second(row, place, data.columns)
            return Example(text, self.label(row, place, data.columns.label, labels=labels), place, second)

        return readers.read(path, data, parse)

    def _second(self, row: Mapping[str, Any], place: Place, names: Columns) -> str | None:
        return columns.text(row, place, names.text_pair or SECOND, setting="textPair") if self.is_pair else None

    def encode(self, examples: Sequence[Example[L]], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return token ids and targets."""
        encoded = self._encoded([self.asked(example) for example in examples], encoder)
        return Features(tuple(encoded), self.targets(examples, labels))

    def asked(self, example: Example[L]) -> Asked:
        """Return the text, or both."""
        return example.text if example.second is None else (example.text, example.second)

    def encode_asked(self, items: Sequence[Asked], *, encoder: Encoder) -> list[Windows]:
        """Return token ids, the longer text of a pair cut first."""
        return [(item,) for item in self._encoded(items, encoder)]

    def _encoded(self, items: Sequence[Asked], encoder: Encoder) -> list[Encoded]:
        return encoder.encode([item if isinstance(item, str) else (item[0], item[1]) for item in items])
