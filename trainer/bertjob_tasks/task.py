"""
What a task is, for everybody who must not know which one it is: trainer, optimize and predictor ask these questions only.

An item is what is asked and judged as one: a text, a pair, a question with its text. It is encoded to one input, or to several
windows where it does not fit into one. Shapes: N items, M inputs, L tokens of one, C outputs of the head, K statistics of an item.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertjob_api.spec import Data
from bertjob_tasks.encoding import Encoded, Encoder

Array = NDArray[Any]
E = TypeVar("E")
Reads = Literal["first", "tokens", "spans", "mean", "cls", "masked", "masked-pairs"]
Loss = Literal["classes", "flags", "values", "spans", "cosine", "contrastive", "words-and-order"]
Answer = Mapping[str, Any]
Asked = str | tuple[str, ...]
"""What is asked: a text, or texts that belong together; for a task that takes words, the words of one text."""
Windows = tuple[Encoded, ...]
"""The inputs of one item, at least one."""
Column = tuple[str, list[int], list[Any]]
"""Datatype, shape and flat data of an output (Open Inference Protocol)."""

IGNORED: Final = -100
"""Target of a token that the loss leaves out. Source: torch.nn.CrossEntropyLoss, ``ignore_index``."""
TEXT: Final = "text"
SECOND: Final = "text_pair"


def asked_of(value: str | Sequence[str]) -> Asked:
    """Return what is asked from its JSON, which has lists for tuples."""
    return value if isinstance(value, str) else tuple(value)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Encoded examples with what they are judged by."""

    inputs: tuple[Encoded, ...]
    """(M,), those of one item side by side."""
    targets: Array
    """What the loss compares with: (M,) or (M, C); for a loss of every token: one number for each token of all inputs."""
    gold: Any = None
    """What else the task's metrics need; its own affair."""
    counts: tuple[int, ...] | None = None
    """(N,) inputs of each item; None: one each."""

    @property
    def num_items(self) -> int:
        """Return N."""
        return len(self.inputs) if self.counts is None else len(self.counts)

    @property
    def slices(self) -> list[slice]:
        """Return which inputs each item has, (N,)."""
        return slices_of(self.counts or (1,) * len(self.inputs))


def slices_of(counts: Sequence[int]) -> list[slice]:
    """Return the places of so many things side by side, for each of *counts*."""
    return [slice(stop - count, stop) for count, stop in zip(counts, itertools.accumulate(counts), strict=True)]


class Task(ABC, Generic[E]):
    """One kind of work for BERT, from rows to answers."""

    name: str
    """``spec.model.task``."""
    problem: str | None = None
    """``spec.model.problem``; None: the task's default."""
    reads: Reads = "first"
    """
    What the head reads: the pooled first token, or every token; of spans it says for every token: first, and last. Masked: it names
    hidden tokens of texts, or of pairs of them. Mean and cls: there is no head, the outputs are the mean of all tokens or the first
    one, of length 1.
    """
    loss: Loss = "classes"
    """
    Cross-entropy over classes or over a span's ends, binary cross-entropy of flags, squared error of values or of the cosine of
    two vectors, or cross-entropy over which vectors belong together; of pairs with hidden tokens it has two parts.
    """
    metric: ClassVar[str]
    """Name of the metric that decides; a fraction where more is better."""
    has_labels: ClassVar[bool] = True
    """Its outputs are labels."""
    architecture: ClassVar[str]
    """Transformers' class with this head and these weight names."""
    problem_type: ClassVar[str | None] = None
    """Transformers' name of what the outputs mean; None: it has none for this architecture."""
    inputs: tuple[str, ...] = (TEXT,)
    """Names of the texts that a client sends."""
    takes_words: ClassVar[bool] = False
    """A client may send a text as the list of its words."""
    outputs: ClassVar[Mapping[str, str]]
    """Name and datatype of the columns that always come (Open Inference Protocol)."""
    output_rank: ClassVar[int] = 1
    """Axes of these columns; the first one counts items."""

    @property
    def answers_tokens(self) -> bool:
        """Return whether the outputs of one input are (L, C), not (C,)."""
        return self.reads in ("tokens", "spans")

    @property
    def has_token_targets(self) -> bool:
        """Return whether the loss compares every token, not every input."""
        return self.reads == "tokens" or self.hides

    # From rows to what is trained on.

    @abstractmethod
    def read(self, path: Path, data: Data, *, labels: Sequence[str] | None) -> Iterator[E]:
        """Yield the examples at *path*, with labels of *labels* only (None: any); raises DataError."""

    @abstractmethod
    def discover(self, examples: Iterable[E]) -> tuple[str, ...]:
        """Return the labels of the training examples in the order of the outputs; () for a task without. Raises DataError."""

    def width(self, labels: Sequence[str]) -> int:
        """Return the outputs C of the head."""
        return len(labels)

    @abstractmethod
    def encode(self, examples: Sequence[E], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return held-out examples as token ids, with what answers are judged by."""

    def encode_training(self, examples: Sequence[E], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return training examples as token ids and targets; the same as held-out ones unless a task says otherwise."""
        return self.encode(examples, labels, encoder=encoder)

    @property
    def hides(self) -> bool:
        """Return whether tokens are hidden from the model, to be filled in."""
        return self.reads in ("masked", "masked-pairs")

    def texts(self, example: E) -> tuple[str, ...]:
        """Return the texts of an example as they are in the data."""
        asked = self.asked(example)
        return (asked,) if isinstance(asked, str) else asked

    # From outputs to metrics.

    @abstractmethod
    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[float, ...]:
        """Return the answer to one held-out item as a few numbers; *outputs* of each of its inputs are (C,) or (L, C)."""

    @abstractmethod
    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """
        Return numbers (N, K) of each item whose means give the metric, so that it can be resampled.

        Args:
            features: the held-out items.
            answers: of all items one after another, as ``reduce`` made them.

        """

    @abstractmethod
    def combine(self, means: Array) -> Array:
        """Return the metric (...) of means (..., K) of statistics."""

    @abstractmethod
    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return every metric by name, the deciding one first; *answers* as in ``statistics``."""

    # From what clients send to what they are answered.

    def with_vocabulary(self, encoder: Encoder) -> Self:
        """Return this task as it answers with the words of a model's tokenizer; the same one where answers name none."""
        del encoder
        return self

    @abstractmethod
    def asked(self, example: E) -> Asked:
        """Return what a client would send to get this example answered."""

    @abstractmethod
    def encode_asked(self, items: Sequence[Asked], *, encoder: Encoder) -> list[Windows]:
        """Return the inputs of what clients sent, exactly as ``encode`` would make them."""

    @abstractmethod
    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """
        Return the answer to one item for people.

        Args:
            outputs: (C,) or (L, C) of each of its inputs.
            tokens: the inputs as ``encode_asked`` made them.
            asked: the item as it was sent.
            labels: in the order of the outputs.
            with_scores: answer more than the winner.

        """

    @abstractmethod
    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> Mapping[str, Column]:
        """Return the same answers as columns, by name."""

    def own(self, outputs: Array) -> Array:
        """Return the outputs for one input without those that are there for other inputs of its batch alone."""
        return outputs

    @abstractmethod
    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether the outputs *got* for one input mean what was *recorded*, of one shape and finite, within *tolerance*."""

    def files(self, *, hidden_size: int, max_length: int) -> Mapping[str, Any]:
        """Return JSON files, by path, that the exported model has besides those of every task."""
        del hidden_size, max_length
        return {}


def metric_of(task: Task[Any], features: Features, answers: Sequence[float]) -> float:
    """Return the deciding metric of *answers* on *features*."""
    return float(task.combine(task.statistics(features, answers).mean(axis=0)))


def answers_of(task: Task[Any], features: Features, outputs: Sequence[Array]) -> tuple[float, ...]:
    """Return the answers to all items one after another, from the outputs (M,) of all inputs."""
    return tuple(number for part in features.slices for number in task.reduce(outputs[part], features.inputs[part]))


def is_finite_like(recorded: Array, got: Array) -> bool:
    """Return whether *got* has the shape of *recorded* and nothing but finite numbers."""
    return bool(got.shape == recorded.shape and np.isfinite(got).all())
