"""
BERT's own training: filling in hidden words, and telling whether one text comes after another.

Pairs are made of documents of at least two sentences: neighbouring sentences, cut in two at random; in half of the pairs the
second part is replaced by the end of a piece of another document, and what was replaced goes back to where it came from. Which
pairs come of a file is the same every time. Shapes: N pairs.

Source: Devlin et al. 2018 (arXiv:1810.04805), 3.1 and A.2; google-research/bert, create_pretraining_data.py.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from bertjob_api.spec import Data
from bertjob_tasks import passages
from bertjob_tasks.encoding import Encoded, Encoder
from bertjob_tasks.errors import NoExamplesError, Place
from bertjob_tasks.masked_lm import Gold, MaskedLanguage, gaps_of, targets_of
from bertjob_tasks.masking import RATE
from bertjob_tasks.passages import Passage, Sentence
from bertjob_tasks.task import Array, Features

NEXT: Final = 0
OTHER: Final = 1
"""Classes of a pair, as transformers numbers them."""
_SPECIAL: Final = 3
"""Special tokens of a pair."""
_POOL: Final = 512
"""Pieces of earlier documents that second texts are taken from; memory stays bounded, and there is enough variety."""


@dataclass(frozen=True, slots=True)
class Pair(Passage):
    """Two texts, the first of them being the passage."""

    second: str = ""
    order: int = NEXT
    """``NEXT`` or ``OTHER``."""


class Pretraining(MaskedLanguage):
    """Masked language modelling and next sentence prediction; judged by the share of gaps that are filled in right."""

    name = "pretraining"
    reads = "masked-pairs"
    loss = "words-and-order"
    architecture = "BertForPreTraining"

    def read(self, path: Path, data: Data, *, labels: Sequence[str] | None) -> Iterator[Passage]:
        """Yield pairs of plain text; raises NoExamplesError when no two documents have two sentences."""
        del labels
        most = passages.room(data.max_sequence_length, special=_SPECIAL)
        found = passages.parted(passages.sentences(path, data), most=max(1, most // 2))
        has_other = False
        for pair in pairs(found, most=max(2, most)):
            has_other = has_other or pair.order == OTHER
            yield pair
        if not has_other:
            raise NoExamplesError(
                f"{path.name}: has no two documents of two sentences, which pretraining makes its pairs of; put one sentence "
                "on each line and a blank line between documents, or train masked-lm"
            )

    def texts(self, example: Passage) -> tuple[str, ...]:
        """Return both texts."""
        return _both(example)

    def encode_training(self, examples: Sequence[Passage], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return the pairs as they are, with their classes."""
        del labels
        inputs = encoder.encode([_both(example) for example in examples])
        return Features(tuple(inputs), _orders(examples))

    def encode(self, examples: Sequence[Passage], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return the pairs with gaps in both texts."""
        del labels
        gapped = [[passages.gapped(text, rate=RATE) for text in _both(example)] for example in examples]
        inputs = encoder.encode([(first.text, second.text) for first, second in gapped], reads_special=True)
        gaps = tuple(np.concatenate(part) for part in self._gaps(gapped, inputs, encoder))
        return Features(tuple(inputs), targets_of(inputs, gaps, encoder=encoder), Gold(gaps, _orders(examples)))

    def _gaps(
        self, gapped: Sequence[Sequence[passages.Gapped]], inputs: Sequence[Encoded], encoder: Encoder
    ) -> Iterator[tuple[Array, ...]]:
        """Yield the gaps of the first and of the second text of each pair; either may be cut off at its end."""
        sides = [
            [Encoded(item.ids[item.type_ids == side], item.type_ids[item.type_ids == side]) for item in inputs]
            for side in (0, 1)
        ]
        found = [gaps_of([pair[side] for pair in gapped], sides[side], encoder=encoder) for side in (0, 1)]
        yield from zip(*found, strict=True)


def _both(example: Passage) -> tuple[str, str]:
    assert isinstance(example, Pair), "pretraining reads pairs"
    return (example.text, example.second)


def _orders(examples: Sequence[Passage]) -> Array:
    return np.array([example.order for example in examples if isinstance(example, Pair)], dtype=np.int64)


def pairs(found: Iterable[Sentence], *, most: int) -> Iterator[Pair]:
    """Yield pairs of at most *most* words in both texts, half of them from two documents."""
    rng = random.Random(0)  # noqa: S311  # no secret; its stream is the same in every version
    pieces = passages.grouped(found, most=most)
    pool = list(islice(pieces, _POOL))  # read ahead, so that the first pairs have others to choose from
    ahead = deque(pool)
    for piece in pieces:
        yield from _cut(ahead.popleft(), pool, rng, most=most)
        ahead.append(piece)
        pool[int(rng.random() * _POOL)] = piece
    while ahead:
        yield from _cut(ahead.popleft(), pool, rng, most=most)


def _cut(piece: list[Sentence], pool: Sequence[list[Sentence]], rng: random.Random, *, most: int) -> Iterator[Pair]:
    """Yield the pairs of one piece: until its end is used, or a single sentence is left."""
    while len(piece) > 1:
        place = 1 + int(rng.random() * (len(piece) - 1))
        first, rest = piece[:place], piece[place:]
        other = _other(pool, piece[0].document, rng) if rng.random() < 0.5 else None
        if other is None:
            yield _pair(first, rest, NEXT)
            return
        left = most - sum(passages.num_words(sentence.text) for sentence in first)
        yield _pair(first, _fitting(other, rng, most=left), OTHER)
        piece = rest


def _other(pool: Sequence[list[Sentence]], document: Place, rng: random.Random) -> list[Sentence] | None:
    """Return a piece of another document, or None when there is none."""
    for _ in range(10):
        piece = pool[int(rng.random() * len(pool))]
        if piece[0].document != document:
            return piece
    return next((piece for piece in pool if piece[0].document != document), None)


def _fitting(piece: list[Sentence], rng: random.Random, *, most: int) -> list[Sentence]:
    """Return sentences from a random one on, at most *most* words of them but one at least."""
    start = int(rng.random() * len(piece))
    kept, count = [piece[start]], passages.num_words(piece[start].text)
    for sentence in piece[start + 1 :]:
        count += passages.num_words(sentence.text)
        if count > most:
            break
        kept.append(sentence)
    return kept


def _pair(first: list[Sentence], second: list[Sentence], order: int) -> Pair:
    texts = [" ".join(sentence.text for sentence in part) for part in (first, second)]
    return Pair(texts[0], first[0].place, texts[1], order)
