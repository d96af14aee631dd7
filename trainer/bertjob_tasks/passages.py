"""
Plain text, cut into pieces that a model can take.

Sentences of one document are joined until there are about as many words as fit; a piece never crosses from one document into
another. Words are counted and not tokens, so that nothing needs a tokenizer here; three words for four tokens leave room for
words of several pieces, and what is too long all the same is cut by the tokenizer.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertjob_api.spec import Data
from bertjob_tasks import columns, readers, rows, words
from bertjob_tasks.draws import random_numbers
from bertjob_tasks.errors import Place

MASK: Final = "[MASK]"
_SPELT: Final = re.compile(r"\[(?:PAD|UNK|CLS|SEP|MASK)\]")
"""Spellings of special tokens: a corpus that talks of BERT must not command it."""
_PLAIN_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line of a document, or a row of a table, which is a document of its own."""

    text: str
    document: Place
    """Where its document begins."""
    place: Place


@dataclass(frozen=True, slots=True)
class Passage:
    """Neighbouring sentences of one document."""

    text: str
    place: Place
    """Of the first of them."""


@dataclass(frozen=True, slots=True)
class Gapped:
    """A text with some of its words hidden."""

    text: str
    """``[MASK]`` in the place of each of them."""
    hidden: tuple[str, ...]


def sentences(path: Path, data: Data) -> Iterator[Sentence]:
    """Yield every sentence in order; raises DataError."""
    in_file = data.format == "text"

    def parse(row: Mapping[str, Any], place: Place) -> Sentence:
        text = columns.text(row, place, rows.LINE if in_file else data.columns.text)
        return Sentence(_SPELT.sub(" ", text), row[rows.DOCUMENT] if in_file else place, place)

    return readers.read(path, data, parse, formats=rows.PLAIN)


def room(max_tokens: int, *, special: int) -> int:
    """Return how many words are taken for an input of *max_tokens* tokens, so many of them *special*."""
    return max(1, (max_tokens - special) * 3 // 4)


def passages(found: Iterable[Sentence], *, most: int) -> Iterator[Passage]:
    """Yield passages of at most *most* words, in order."""
    for kept in grouped(parted(found, most=most), most=most):
        yield Passage(" ".join(sentence.text for sentence in kept), kept[0].place)


def grouped(found: Iterable[Sentence], *, most: int) -> Iterator[list[Sentence]]:
    """Yield neighbouring sentences of one document, at most *most* words of them or a single one, in order."""
    kept: list[Sentence] = []
    count = 0
    for sentence in found:
        size = num_words(sentence.text)
        if kept and (kept[0].document != sentence.document or count + size > most):
            yield kept
            kept, count = [], 0
        kept.append(sentence)
        count += size
    if kept:
        yield kept


def parted(found: Iterable[Sentence], *, most: int) -> Iterator[Sentence]:
    """Yield the sentences, those of more than *most* words in several parts."""
    for sentence in found:
        if len(sentence.text) <= most:  # a word has a character at least
            yield sentence
            continue
        spans = words.split(sentence.text)
        for start in range(0, len(spans), most):
            part = spans[start : start + most]
            yield Sentence(sentence.text[part[0].start : part[-1].end], sentence.document, sentence.place)


def num_words(text: str) -> int:
    """Return the words of *text*."""
    return len(words.split(text))


def gapped(text: str, *, rate: float) -> Gapped:
    """
    Return *text* with a *rate* of its words hidden, at least one; the text alone decides which.

    Only words of letters and digits are hidden; a text without any stays whole.
    """
    spans = [word for word in words.split(text) if _PLAIN_WORD.fullmatch(word.text)]
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    wanted = max(1, round(rate * len(spans)))
    chosen = sorted(random_numbers(len(spans), key).argsort(kind="stable")[:wanted].tolist())
    parts, end = [], 0
    for word in (spans[index] for index in chosen):
        parts += [text[end : word.start], MASK]
        end = word.end
    return Gapped("".join([*parts, text[end:]]), tuple(spans[index].text for index in chosen))
