"""
Public data sets as files that a job reads: the texts of a training file and of a held-out one.

Rows are capped by a permutation that is the same every time, so that every run and both sides have the same ones.
"""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from bertjob_tasks.draws import random_numbers

T = TypeVar("T")
Split = tuple[str, str]
"""Contents of the training file and of the held-out one."""
_SEED: Final = 1
_EVERY: Final = 10
"""Of so many documents of a set without a held-out part, one is held out."""
_PARAGRAPHS: Final = 30
"""Neighbouring paragraphs of a book that make one document."""
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?;:])[\"')]?\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How much is taken of a data set; None: all."""

    train: int | None = None
    held_out: int | None = None


def sst2(root: Path, caps: Caps) -> Split:
    """Return SST-2 as TSV with its header; held out are the 872 sentences that GLUE calls its development set."""
    folder = root / "text-classification" / "sst2"
    return _table(folder / "train.tsv", caps.train), _table(folder / "test.tsv", caps.held_out)


def wnut17(root: Path, caps: Caps) -> Split:
    """Return WNUT17 as CoNLL; held out is its test set."""
    folder = root / "ner" / "wnut17"
    named = ((folder / "wnut17train.conll", caps.train), (folder / "emerging.test.annotated", caps.held_out))
    train, held_out = ("\n\n".join(_some(_sentences(path), most)) + "\n" for path, most in named)
    return train, held_out


def sts_b(root: Path, caps: Caps) -> Split:
    """Return the STS benchmark as JSON lines; held out is its test set."""
    folder = root / "sentence-pair" / "sts-b"
    return _pairs(folder / "sts-train.tsv", caps.train), _pairs(folder / "sts-test.tsv", caps.held_out)


def xquad_en(root: Path, caps: Caps) -> Split:
    """Return XQuAD's English part as SQuAD JSON; held out is every tenth article, so that no text is in both parts."""
    articles = json.loads((root / "qa" / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    train, held_out = _parted(articles)
    return _squad(train, caps.train), _squad(held_out, caps.held_out)


def gutenberg(root: Path, caps: Caps) -> Split:
    """Return books as text, a sentence on each line and a blank line after each document; caps are in sentences."""
    with zipfile.ZipFile(root / "corpus" / "en" / "gutenberg.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
        books = [_text(archive.read(name)) for name in names]
    train, held_out = _parted([document for book in books for document in documents(book)])
    return _joined(train, caps.train), _joined(held_out, caps.held_out)


def documents(book: str) -> Iterator[Sequence[str]]:
    """Yield the sentences of neighbouring paragraphs; those of one sentence alone are left out."""
    paragraphs = [" ".join(part.split()) for part in _PARAGRAPH.split(book)]
    for start in range(0, len(paragraphs), _PARAGRAPHS):
        found = [
            sentence.strip()
            for paragraph in paragraphs[start : start + _PARAGRAPHS]
            for sentence in _SENTENCE_END.split(paragraph)
            if sentence.strip()
        ]
        if len(found) > 1:
            yield found


def _text(content: bytes) -> str:
    """Return a book's text; some of them are not UTF-8 but Latin-1."""
    try:
        found = content.decode("utf-8")
    except UnicodeDecodeError:
        found = content.decode("latin-1")
    return found.replace("\r\n", "\n")


def _some(items: Sequence[T], most: int | None) -> list[T]:
    """Return at most so many of the items, in their order."""
    if most is None or most >= len(items):
        return list(items)
    chosen = random_numbers(len(items), _SEED).argsort(kind="stable")[:most]
    return [items[index] for index in sorted(chosen.tolist())]


def _parted(items: Sequence[T]) -> tuple[list[T], list[T]]:
    held_out = [item for number, item in enumerate(items) if number % _EVERY == 0]
    return [item for number, item in enumerate(items) if number % _EVERY], held_out


def _table(path: Path, most: int | None) -> str:
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    return "\n".join([header, *_some([line for line in lines if line], most)]) + "\n"


def _sentences(path: Path) -> list[str]:
    """Return the blocks of lines of a CoNLL file; what parts them may hold white space."""
    blocks: list[list[str]] = [[]]
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]


def _pairs(path: Path, most: int | None) -> str:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return _json_lines({"text": row[5], "text_pair": row[6], "label": float(row[4])} for row in _some(rows, most))


def _json_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _squad(articles: Sequence[dict[str, Any]], most: int | None) -> str:
    """Return the articles as a SQuAD file with at most so many questions."""
    flat = [
        (paragraph["context"], question)
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    paragraphs = [{"context": context, "qas": [question]} for context, question in _some(flat, most)]
    return json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]})


def _joined(found: Sequence[Sequence[str]], most: int | None) -> str:
    """Return documents, whole ones drawn at random until there are so many sentences."""
    kept: list[int] = []
    count = 0
    for index in random_numbers(len(found), _SEED).argsort(kind="stable").tolist():
        # Two documents at least, since next sentences are told from those of another document.
        if most is not None and count >= most and len(kept) > 1:
            break
        kept.append(index)
        count += len(found[index])
    return "\n\n".join("\n".join(found[index]) for index in sorted(kept)) + "\n"
