"""
Filling in hidden words.

While training, tokens are hidden anew in each step (``masking``). Held-out texts have fixed gaps, which the text alone decides:
whole words, each one ``[MASK]``, of which those are judged that are one piece of the vocabulary. So a client can send exactly
what was judged.

What a served model computes for a text is not the logits of all words but, for each ``[MASK]``, the ``TOP`` likeliest ones: their
probabilities, then their numbers. Shapes: N texts, K gaps of one, T = ``TOP``.

Source: Devlin et al. 2018 (arXiv:1810.04805), 3.1.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np

from bertjob_api.spec import Data
from bertjob_tasks import columns, passages
from bertjob_tasks.encoding import Encoded, Encoder
from bertjob_tasks.masking import RATE
from bertjob_tasks.passages import Gapped, Passage
from bertjob_tasks.task import IGNORED, Answer, Array, Asked, Column, Features, Reads, Task, Windows, is_finite_like

TOP: Final = 10
"""Words that a served model gives for each gap."""
_SHOWN: Final = 5
"""Of these, how many are answered unless more are asked for."""
_SPECIAL: Final = 2
"""Special tokens of one text."""


@dataclass(frozen=True, slots=True, eq=False)
class Gold:
    """What the filled gaps of held-out texts are compared with."""

    gaps: tuple[Array, ...]
    """(N,) of (K,) tokens, IGNORED for words of several pieces."""
    order: Array | None = None
    """(N,): 0 where the second text comes after the first one, else 1; None: these are no pairs."""


class MaskedLanguage(Task[Passage]):
    """Masked language modelling; judged by the share of gaps that are filled in right."""

    name = "masked-lm"
    reads: Reads = "masked"
    metric = "maskedAccuracy"
    has_labels = False
    architecture = "BertForMaskedLM"
    outputs: ClassVar = {"masks": "BYTES"}

    def __init__(self) -> None:
        """Know no words yet; see ``with_vocabulary``."""
        self.vocabulary: Sequence[str] = ()

    def with_vocabulary(self, encoder: Encoder) -> Self:
        """Return this task with words for what it answers."""
        found = copy.copy(self)
        numbers = encoder.tokenizer.get_vocab(with_added_tokens=True)
        words = [""] * (max(numbers.values()) + 1)
        for word, number in numbers.items():
            words[number] = word
        found.vocabulary = words
        return found

    def read(self, path: Path, data: Data, *, labels: Sequence[str] | None) -> Iterator[Passage]:
        """Yield passages of plain text, or of the texts of a table."""
        del labels
        most = passages.room(data.max_sequence_length, special=_SPECIAL)
        return passages.passages(passages.sentences(path, data), most=most)

    def discover(self, examples: Iterable[Passage]) -> tuple[str, ...]:
        """Return nothing: there are no labels."""
        del examples
        return ()

    def width(self, labels: Sequence[str]) -> int:
        """Return 2, as many as transformers gives a model without labels of its own."""
        del labels
        return 2

    def texts(self, example: Passage) -> tuple[str, ...]:
        """Return the passage without gaps."""
        return (example.text,)

    def encode_training(self, examples: Sequence[Passage], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return the whole passages; there is nothing to compare with before something is hidden."""
        del labels
        inputs = encoder.encode([example.text for example in examples])
        return Features(tuple(inputs), np.zeros(len(inputs), dtype=np.int64))

    def encode(self, examples: Sequence[Passage], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return the passages with their gaps."""
        del labels
        gapped = [passages.gapped(example.text, rate=RATE) for example in examples]
        inputs = encoder.encode([item.text for item in gapped])
        gaps = gaps_of(gapped, inputs, encoder=encoder)
        return Features(tuple(inputs), targets_of(inputs, gaps, encoder=encoder), Gold(gaps))

    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[float, ...]:
        """Return the likeliest word of each gap."""
        del tokens
        (rows,) = outputs
        return tuple(self.own(rows)[:, TOP].tolist())

    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """Return how many gaps are filled in right, and how many are judged, (N, 2)."""
        gold: Gold = features.gold
        found, start = np.zeros((len(gold.gaps), 2)), 0
        for number, gaps in enumerate(gold.gaps):
            given = np.array(answers[start : start + len(gaps)])
            start += len(gaps)
            judged = gaps != IGNORED
            found[number] = ((judged & (given == gaps)).sum(), judged.sum())
        return found

    def combine(self, means: Array) -> Array:
        """Return the share of gaps that are right; 0 where none is judged."""
        judged = means[..., 1]
        return np.divide(means[..., 0], judged, out=np.zeros_like(judged), where=judged > 0)

    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return ``maskedAccuracy``; losses need logits (``language_evaluation`` of the trainer)."""
        return {self.metric: float(self.combine(self.statistics(features, answers).mean(axis=0)))}

    def asked(self, example: Passage) -> Asked:
        """Return the passage with its gaps."""
        return passages.gapped(example.text, rate=RATE).text

    def encode_asked(self, items: Sequence[Asked], *, encoder: Encoder) -> list[Windows]:
        """Return the token ids of texts, in which ``[MASK]`` is that token."""
        texts = [item if isinstance(item, str) else " ".join(item) for item in items]
        return [(item,) for item in encoder.encode(texts)]

    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """Return ``masks``: for each gap the likeliest words with their probabilities; with scores twice as many."""
        del tokens, asked, labels
        shown = TOP if with_scores else _SHOWN
        (rows,) = outputs
        return {"masks": [self._named(row[:shown], row[TOP : TOP + shown]) for row in self.own(rows)]}

    def _named(self, chances: Array, numbers: Array) -> list[dict[str, Any]]:
        found = zip(chances.tolist(), numbers.astype(np.int64).tolist(), strict=True)
        return [{"token": self.vocabulary[number], "score": chance} for chance, number in found]

    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> Mapping[str, Column]:
        """Return ``masks``, a JSON list for each text."""
        del labels
        return {"masks": ("BYTES", [len(answers)], [columns.as_json(item["masks"]) for item in answers])}

    def own(self, outputs: Array) -> Array:
        """Return the rows of the input's gaps; a batch has as many for each input as its most gaps, -1 where there is none."""
        kept: Array = outputs[~(outputs[:, 0] < 0)]  # what is no number stays, to be found
        return kept

    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether the likeliest word of every gap has the same probability, within *tolerance*."""
        if not is_finite_like(recorded, got):
            return False
        there = got[:, TOP:] == recorded[:, TOP : TOP + 1]
        chances = np.where(there, got[:, :TOP], 0.0).max(axis=1)
        return bool(np.abs(recorded[:, 0] - chances).max(initial=0.0) <= tolerance)


def gaps_of(gapped: Sequence[Gapped], inputs: Sequence[Encoded], *, encoder: Encoder) -> tuple[Array, ...]:
    """Return the tokens that were hidden in each input, as far as it was not cut off; IGNORED for words of several pieces."""
    pieces = encoder.encode([word for item in gapped for word in item.hidden])
    numbers = iter([int(found.ids[1]) if len(found.ids) == _SPECIAL + 1 else IGNORED for found in pieces])
    hidden = [np.array([next(numbers) for _ in item.hidden], dtype=np.int64) for item in gapped]
    return tuple(gaps[: int((item.ids == encoder.mask_id).sum())] for gaps, item in zip(hidden, inputs, strict=True))


def targets_of(inputs: Sequence[Encoded], gaps: Sequence[Array], *, encoder: Encoder) -> Array:
    """Return a target for each token of all inputs: what is hidden there, else IGNORED."""
    targets = np.full(sum(len(item.ids) for item in inputs), IGNORED, dtype=np.int64)
    is_gap = np.concatenate([item.ids for item in inputs]) == encoder.mask_id
    targets[is_gap] = np.concatenate(list(gaps))
    return targets
