"""
Texts to vectors whose cosine says how alike they mean; learnt from pairs of texts.

Pairs have scores, or belong together while the others of their micro-batch do not. A text that is longer than the model is cut into
chunks, and its vector is the mean of theirs, weighted by their tokens and of length 1 again.

Source: Reimers and Gurevych 2019 (arXiv:1908.10084). Shapes: N pairs, L tokens of one input, E model width.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from bertjob_api.spec import Data, Pooling
from bertjob_tasks import columns, metrics, readers, windows
from bertjob_tasks.encoding import Encoded, Encoder
from bertjob_tasks.errors import DataError, LabelError, Place
from bertjob_tasks.task import SECOND, Answer, Array, Asked, Column, Features, Task, Windows, is_finite_like

POSITIVE_PAIRS: Final = "positive-pairs"
"""``spec.model.problem`` of training pairs that belong together and have no score."""
_DIGITS: Final = 7
"""Of a vector's numbers in answers; float32 has no more."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts."""

    text: str
    second: str
    score: float | None
    """How alike they mean, 0 to 1; None: nobody said."""
    place: Place


class Embedding(Task[Pair]):
    """
    Sentence vectors; judged by Spearman's correlation of cosines and scores.

    Statistics of a pair are those of Pearson's correlation, of the ranks that cosine and score have among all held-out pairs: the
    ranks stay as they are when pairs are resampled.
    """

    name = "embedding"
    metric = "spearman"
    has_labels = False
    architecture = "BertModel"
    outputs: ClassVar = {"vector": "FP32"}
    output_rank = 2

    def __init__(self, problem: str | None = None, pooling: Pooling | None = None) -> None:
        """Take what training pairs are (None: scored), and what a vector is made of (None: the mean of all tokens)."""
        self.problem = problem
        self.reads = pooling or "mean"
        self.loss = "cosine" if problem is None else "contrastive"

    def read(self, path: Path, data: Data, *, labels: Sequence[str] | None) -> Iterator[Pair]:
        """Yield the pairs; scores from 0 to ``spec.data.maxScore`` become 0 to 1."""
        del labels

        def parse(row: Mapping[str, Any], place: Place) -> Pair:
            text = columns.text(row, place, data.columns.text)
            second = columns.text(row, place, data.columns.text_pair or SECOND, setting="textPair")
            if self.problem == POSITIVE_PAIRS and data.columns.label not in row:
                return Pair(text, second, None, place)
            return Pair(text, second, _score(row, place, data), place)

        return readers.read(path, data, parse)

    def discover(self, examples: Iterable[Pair]) -> tuple[str, ...]:
        """Return no label; raises DataError when the training pairs' scores are all the same, or are there and not wanted."""
        if self.problem is None:
            if len({example.score for example in examples}) < 2:
                message = "has the same score in every row, expected different ones; check spec.data, or set spec.model.problem"
                raise DataError(f"training data: {message}: {POSITIVE_PAIRS}")
            return ()
        for example in examples:
            if example.score is not None:
                hint = f"leave the column out, or remove spec.model.problem: {POSITIVE_PAIRS}"
                raise LabelError(example.place, f"has a score, expected pairs that all belong together; {hint}")
        return ()

    def width(self, labels: Sequence[str]) -> int:
        """Return 0: there is no layer after the encoder."""
        del labels
        return 0

    def encode_training(self, examples: Sequence[Pair], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return both texts of each pair as one input, told apart by token types, and the scores; a long text is cut."""
        del labels
        first, second = (
            encoder.encode([getattr(example, name) for example in examples]) for name in ("text", "second")
        )
        inputs = tuple(_joined(a, b) for a, b in zip(first, second, strict=True))
        scores = [1.0 if example.score is None else example.score for example in examples]
        return Features(inputs, np.array(scores, dtype=np.float32))

    def encode(self, examples: Sequence[Pair], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return the chunks of both texts of each pair, of token type 0 and 1; the scores are for the metrics alone."""
        del labels
        for example in examples:
            if example.score is None:
                message = "has no score, expected one in every held-out pair; fill in spec.data.columns.label"
                raise LabelError(example.place, message)
        first, second = (
            self.encode_asked([getattr(example, name) for example in examples], encoder=encoder)
            for name in ("text", "second")
        )
        items = [(*a, *(_typed(item, 1) for item in b)) for a, b in zip(first, second, strict=True)]
        inputs = tuple(tokens for item in items for tokens in item)
        scores = np.array([example.score for example in examples], dtype=np.float64)
        return Features(inputs, np.zeros(len(inputs), dtype=np.float32), scores, tuple(map(len, items)))

    def asked(self, example: Pair) -> Asked:
        """Return the first text: a client sends one at a time."""
        return example.text

    def encode_asked(self, items: Sequence[Asked], *, encoder: Encoder) -> list[Windows]:
        """Return the chunks of each text."""
        pieces = encoder.pieces([item if isinstance(item, str) else item[0] for item in items])
        return [windows.of_text(piece, encoder=encoder) for piece in pieces]

    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[float, ...]:
        """Return the cosine of a pair's vectors."""
        split = sum(int(item.type_ids[0] == 0) for item in tokens)
        return (float(_vector(outputs[:split], tokens[:split]) @ _vector(outputs[split:], tokens[split:])),)

    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """Return x, y, xx, yy and xy of each pair's ranks, (N, 5)."""
        return metrics.moments(metrics.ranks(np.array(answers, dtype=np.float64)), metrics.ranks(features.gold))

    def combine(self, means: Array) -> Array:
        """Return the correlation."""
        return metrics.correlation(means)

    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return ``spearman`` and ``pearson``."""
        x, y = np.array(answers, dtype=np.float64), features.gold
        return {
            "spearman": metrics.spearman(x, y),
            "pearson": float(metrics.correlation(metrics.moments(x, y).mean(axis=0))),
        }

    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """Return ``vector``, E numbers of length 1."""
        del asked, labels, with_scores
        return {"vector": np.round(_vector(outputs, tokens), _DIGITS).tolist()}

    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> dict[str, Column]:
        """Return ``vector`` (N, E)."""
        del labels
        width = len(answers[0]["vector"]) if answers else 0
        return {"vector": ("FP32", [len(answers), width], [value for item in answers for value in item["vector"]])}

    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether the cosine of both vectors is within *tolerance* of 1."""
        if not is_finite_like(recorded, got):
            return False
        lengths = np.linalg.norm(recorded) * np.linalg.norm(got)
        return bool(lengths > 0 and recorded @ got >= (1 - tolerance) * lengths)

    def files(self, *, hidden_size: int, max_length: int) -> Mapping[str, Any]:
        """Return what sentence-transformers reads beside the model. Source: its ``SentenceTransformer.save``."""
        modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
        chosen = "cls_token" if self.reads == "cls" else "mean_tokens"
        return {
            "modules.json": [
                {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for number, (path, kind) in enumerate(_MODULES)
            ],
            "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
            "1_Pooling/config.json": {
                "word_embedding_dimension": hidden_size,
                **{f"pooling_mode_{mode}": mode == chosen for mode in modes},
            },
        }


_MODULES: Final = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))


def _score(row: Mapping[str, Any], place: Place, data: Data) -> float:
    most = 1.0 if data.max_score is None else data.max_score
    found = columns.number(row, place, data.columns.label)
    if not 0 <= found <= most:
        message = f"the score is {found:g}, expected 0 to {most:g}; correct the row or set spec.data.maxScore"
        raise LabelError(place, message)
    return found / most


def _typed(item: Encoded, kind: int) -> Encoded:
    """Return the input as one of a pair's first (0) or second (1) text."""
    return Encoded(item.ids, np.full_like(item.type_ids, kind))


def _joined(first: Encoded, second: Encoded) -> Encoded:
    types = np.repeat(np.array([0, 1], dtype=np.int32), [len(first.ids), len(second.ids)])
    return Encoded(np.concatenate([first.ids, second.ids]), types)


def _vector(outputs: Sequence[Array], tokens: Sequence[Encoded]) -> Array:
    """Return one vector (E,) of length 1 for the chunks of a text."""
    sizes = np.array([max(1, len(item.ids) - 2) for item in tokens], dtype=np.float64)  # without [CLS] and [SEP]
    total: Array = sizes @ np.stack(outputs).astype(np.float64)
    return total / max(float(np.linalg.norm(total)), 1e-12)
