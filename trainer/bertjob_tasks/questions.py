"""
Questions with their texts and answers: SQuAD's nested JSON to rows, and a row's answers, each checked against its text.

Source: the files of SQuAD 1.1 and 2.0, https://rajpurkar.github.io/SQuAD-explorer/; a row is one question, as in the ``squad`` data
set of the Hugging Face hub.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from bertjob_tasks.errors import LabelError, MissingColumnError, Place, RowError, SyntaxRowError, clip

_LEVELS: Final = ("data", "paragraphs", "qas")
"""Lists within lists of a SQuAD file."""
_KEYS: Final = ("text", "answer_start")


class Span(NamedTuple):
    """An answer."""

    text: str
    start: int
    """Its first character in the text."""

    @property
    def end(self) -> int:
        """Return one past its last character."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Answered:
    """A question and where its text answers it."""

    question: str
    context: str
    answers: tuple[Span, ...]
    """Right ones, of which the first is learnt; none: the text has no answer."""
    place: Place


def rows(name: str, lines: Iterable[str]) -> Iterator[tuple[Place, Mapping[str, Any] | RowError]]:
    """Yield a row ``question``, ``context``, ``answers`` for each question of a SQuAD file."""
    place = Place(name, 1)
    try:
        value = json.loads("".join(lines))
    except ValueError as error:
        place = replace(place, line=getattr(error, "lineno", 1))
        reason = getattr(error, "msg", "unreadable")
        yield place, SyntaxRowError(place, f"is not JSON ({reason}), expected one object as in SQuAD; repair the file")
        return
    except RecursionError:
        yield place, SyntaxRowError(place, "is nested too deeply, expected one object as in SQuAD; repair the file")
        return
    yield from _walk(value, _LEVELS, place, {})


def answers_of_row(row: Mapping[str, Any], place: Place, *, column: str, context: str) -> tuple[Span, ...]:
    """
    Return the answers in a column, each of which stands in *context* where it says.

    A list of objects ``{"text": "...", "answer_start": 0}``, or an object of two lists; none is fine. Raises RowError.
    """
    if column not in row:
        found = clip(", ".join(map(repr, row)) or "none", 200)
        message = f"has no column {column!r}, found {found}; set spec.data.columns.answers or correct the file"
        raise MissingColumnError(place, message)
    value = row[column]
    if isinstance(value, Mapping):
        value = _objects(value)
    if not isinstance(value, list):
        got = type(row[column]).__name__
        raise LabelError(
            place, f"column {column!r} holds {got}, expected a list of answers, each with {' and '.join(_KEYS)}"
        )
    return tuple(_span(item, place, f"{column}[{number}]", context) for number, item in enumerate(value))


def _walk(
    value: Any, levels: Sequence[str], place: Place, above: Mapping[str, Any]
) -> Iterator[tuple[Place, Mapping[str, Any] | RowError]]:
    """Yield the questions in one part of a file; *above* is the part that it is in."""
    if not isinstance(value, Mapping):
        yield place, SyntaxRowError(place, f"is a JSON {type(value).__name__}, expected an object; repair the file")
        return
    if not levels:
        yield place, {**({"context": above["context"]} if "context" in above else {}), **value}
        return
    key, *below = levels
    parts = value.get(key)
    if not isinstance(parts, list):
        yield place, SyntaxRowError(place, f"has no list {key!r}, expected {', '.join(_LEVELS)} as in SQuAD")
        return
    for number, part in enumerate(parts):
        name = f"{place.path}.{key}[{number}]".removeprefix(".")
        yield from _walk(part, below, replace(place, path=name), value)


def _objects(lists: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the answers of ``{"text": [...], "answer_start": [...]}``; None: it is something else."""
    found = [lists.get(key) for key in _KEYS]
    if not all(isinstance(item, list) for item in found) or len({len(item or ()) for item in found}) > 1:
        return None
    return [dict(zip(_KEYS, pair, strict=True)) for pair in zip(*(item or () for item in found), strict=True)]


def _span(item: Any, place: Place, name: str, context: str) -> Span:
    text, start = (item.get(key) if isinstance(item, Mapping) else None for key in _KEYS)
    if not isinstance(text, str) or not isinstance(start, int) or isinstance(start, bool):
        raise LabelError(place, f"{name} is no answer, expected an object with {' and '.join(_KEYS)}; correct it")
    if not text.strip():
        raise LabelError(place, f"{name} is empty, expected some of the text; correct or remove it")
    end = start + len(text)
    if start < 0 or end > len(context):
        got = f"characters {start} to {end}, the text has {len(context)}"
        raise LabelError(place, f"{name} is outside the text: {got}; count characters, not bytes")
    if context[start:end] != text:
        raise LabelError(place, f"{name} does not stand at character {start} of the text; count characters, not bytes")
    return Span(text, start)
