"""
Files to rows: one generator for each format, the same row for all.

Lines are read with ``surrogateescape``, so that a single byte that is not UTF-8 spoils its own row and not the file.
"""

import codecs
import csv
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bertjob_tasks import parquet, questions
from bertjob_tasks.errors import DataError, EncodingError, Place, RowError, SyntaxRowError, UnsupportedError

Row = tuple[Place, Mapping[str, Any] | RowError]
"""A row's place with its columns, or with the reason why it has none."""

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv", ".txt"),
    "parquet": (".parquet",),
}
"""Formats with one example in each row, and the file names that belong to them when data is a folder."""
TAGGED: Final[Mapping[str, tuple[str, ...]]] = {
    "conll": (".conll", ".bio", ".iob2", ".tsv", ".txt"),
    "jsonl": TABLES["jsonl"],
    "parquet": TABLES["parquet"],
}
"""Formats with a tag for each word."""
QUESTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "squad": (".json",),
    "jsonl": TABLES["jsonl"],
}
"""Formats with questions on texts."""
PLAIN: Final[Mapping[str, tuple[str, ...]]] = {"text": (".txt", ".text"), **TABLES}
"""Formats with texts alone."""
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {**TABLES, **TAGGED, **QUESTIONS, **PLAIN}
"""Every readable format."""
WORDS: Final = "words"
TAGS: Final = "tags"
"""Columns of the rows that CoNLL files give."""
LINE: Final = "line"
DOCUMENT: Final = "document"
"""Columns of the rows that plain text gives: a line, and the place of the first line of its document."""


def files(path: Path, format_: str, *, formats: Mapping[str, tuple[str, ...]] = SUFFIXES) -> list[Path]:
    """
    Return the data files at *path* in order of their names: itself, or what a folder holds of this format.

    Args:
        path: file or folder on this machine.
        format_: ``spec.data.format``.
        formats: formats that the task reads, with their file names' endings.

    Raises:
        UnsupportedError: no reader for the format.
        DataError: nothing is there.

    """
    if format_ not in formats:
        known = ", ".join(formats)
        raise UnsupportedError(
            f"spec.data.format: got {format_}, this version reads {known} for this task; convert the data"
        )
    if path.is_file():
        return [path]
    found = sorted(item for item in path.rglob("*") if item.is_file() and item.suffix in formats[format_])
    if not found:
        expected = " or ".join(formats[format_])
        raise DataError(f"{path.name}: holds no {expected} file; check spec.data and spec.data.format")
    return found


def read(path: Path, format_: str) -> Iterator[Row]:
    """Yield every row of one file; blank lines are no rows. Raises DataError for a file that is none of its format."""
    if format_ == "parquet":
        yield from parquet.rows(path)
        return
    _refuse_utf16(path)
    # Python's universal newlines split at \r, \n and \r\n alone, never inside a JSON string or at U+2028.
    with path.open(
        encoding="utf-8-sig", errors="surrogateescape", newline="" if format_ in ("csv", "tsv") else None
    ) as lines:
        yield from _READERS.get(format_, _delimited)(path.name, lines, format_)


def _refuse_utf16(path: Path) -> None:
    """Raise EncodingError for a file that begins as Windows programs begin UTF-16: its rows would be called broken, one by one."""
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise EncodingError(Place(path.name, 1), "is UTF-16, expected UTF-8; save the file as UTF-8")


def _json_lines(name: str, lines: Iterator[str], _format: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = Place(name, number)
            yield place, _json_row(place, line)


def _json_row(place: Place, line: str) -> Mapping[str, Any] | RowError:
    try:
        value = json.loads(line)
    except ValueError as error:
        reason = getattr(error, "msg", "unreadable")
        return SyntaxRowError(place, f"is not JSON ({reason}), expected one object per line; repair or remove the line")
    except RecursionError:
        return SyntaxRowError(place, "is nested too deeply, expected one flat object per line; remove the line")
    if not isinstance(value, dict):
        kind = type(value).__name__
        return SyntaxRowError(place, f"is a JSON {kind}, expected an object with the columns as keys; rewrite the line")
    return value


def _delimited(name: str, lines: Iterator[str], format_: str) -> Iterator[Row]:
    # TSV knows no quoting: a text that begins with a quotation mark is just that.
    reader = (
        csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
        if format_ == "tsv"
        else csv.reader(lines, strict=True)
    )
    header: list[str] | None = None
    start = 1
    for fields in _fields(reader):
        place, start = Place(name, start), reader.line_num + 1
        if isinstance(fields, csv.Error):
            yield place, SyntaxRowError(place, f"is not {format_} ({fields}); repair or remove the row")
        elif not fields:
            continue
        elif header is None:
            header = _header(place, fields)
        elif len(fields) != len(header):
            quoting = "put quotes around fields with commas" if format_ == "csv" else "remove tabs from the fields"
            message = f"has {len(fields)} columns, expected {len(header)} as in the header; {quoting}"
            yield place, SyntaxRowError(place, message)
        else:
            yield place, dict(zip(header, fields, strict=True))


def _header(place: Place, fields: list[str]) -> list[str]:
    try:
        "".join(fields).encode("utf-8")
    except UnicodeEncodeError:
        raise EncodingError(place, "the header is not UTF-8; save the file as UTF-8") from None
    return fields


def _fields(reader: Iterator[list[str]]) -> Iterator[list[str] | csv.Error]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _conll(name: str, lines: Iterator[str], _format: str) -> Iterator[Row]:
    """Yield a row for each sentence: a word's first column is the word, its last one the tag; a blank line ends the sentence."""
    start, words, tags = 1, list[str](), list[str]()
    error: RowError | None = None
    for number, line in enumerate(itertools.chain(lines, [""]), start=1):
        fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        if not any(field.strip() for field in fields):
            if words or error:
                yield Place(name, start), error or {WORDS: words, TAGS: tags}
            start, words, tags, error = number + 1, [], [], None
        elif fields[0] == "-DOCSTART-":  # of a document; no word
            continue
        elif len(fields) < 2 or not fields[0].strip() or not fields[-1].strip():
            message = (
                f"has {len(fields)} column, expected a word and its tag" if len(fields) < 2 else "lacks word or tag"
            )
            error = error or SyntaxRowError(Place(name, number), f"{message}; correct the line")
        else:
            words.append(fields[0].strip())
            tags.append(fields[-1].strip())


def _plain(name: str, lines: Iterator[str], _format: str) -> Iterator[Row]:
    """Yield a row for each line that is not blank; a blank line ends the document."""
    document: Place | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            document = None
            continue
        place = Place(name, number)
        document = document or place
        yield place, {LINE: line.strip(), DOCUMENT: document}


_READERS: Final[Mapping[str, Callable[[str, Iterator[str], str], Iterator[Row]]]] = {
    "jsonl": _json_lines,
    "conll": _conll,
    "text": _plain,
    "squad": lambda name, lines, _: questions.rows(name, lines),
}
