"""Values of a row's columns, each checked: what is got, what is expected, and which setting or row to correct."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from bertjob_tasks.errors import EmptyTextError, EncodingError, LabelError, MissingColumnError, Place, clip

SEPARATOR: Final = "|"
"""Between the labels of one text, in formats that have no lists."""


def text(row: Mapping[str, Any], place: Place, column: str, *, setting: str = "text") -> str:
    """Return the text in a column; raises RowError."""
    value = _value(row, place, column, setting=setting)
    if not isinstance(value, str):
        got = type(value).__name__
        raise MissingColumnError(place, f"column {column!r} holds {got}, expected a text; correct the row")
    if not value.strip():
        raise EmptyTextError(place, f"column {column!r} is empty, expected a text; fill in or remove the row")
    return _utf8(value, place, column)


def label(row: Mapping[str, Any], place: Place, column: str) -> str:
    """Return the label's spelling: JSON numbers and truth values become text, as CSV files have them. Raises RowError."""
    return _label(_value(row, place, column, setting="label"), place, column)


def labels(row: Mapping[str, Any], place: Place, column: str) -> tuple[str, ...]:
    """Return the labels of one row, sorted: a JSON list, or a text with ``|`` between them; none is fine. Raises RowError."""
    value = _value(row, place, column, setting="label")
    if isinstance(value, str):
        value = [part for part in value.split(SEPARATOR) if part.strip()]
    if not isinstance(value, list):
        got = type(value).__name__
        raise LabelError(
            place, f"column {column!r} holds {got}, expected a list of labels, or a text like a{SEPARATOR}b"
        )
    return tuple(sorted({_label(item, place, column) for item in value}))


def number(row: Mapping[str, Any], place: Place, column: str) -> float:
    """Return the finite number in a column, which may be spelled as text. Raises RowError."""
    value = _value(row, place, column, setting="label")
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise LabelError(place, f"column {column!r} holds no finite number, expected one such as 3.5; correct the row")
    return found


def word_tags(
    row: Mapping[str, Any], place: Place, *, words: str, tags: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return as many tags as words, at least one, from two columns that hold lists of texts. Raises RowError."""
    found = [_list(row, place, column, setting=key) for column, key in ((words, "text"), (tags, "label"))]
    if not found[0]:
        raise EmptyTextError(place, f"column {words!r} is empty, expected words; fill in or remove the row")
    if len(found[0]) != len(found[1]):
        raise LabelError(place, f"has {len(found[0])} words and {len(found[1])} tags, expected one tag for each word")
    return found[0], found[1]


def as_json(value: Any) -> str:
    """Return JSON for a column that holds text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _list(row: Mapping[str, Any], place: Place, column: str, *, setting: str) -> tuple[str, ...]:
    value = _value(row, place, column, setting=setting)
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        got = "something other than texts" if isinstance(value, list) else type(value).__name__
        raise MissingColumnError(place, f"column {column!r} holds {got}, expected a list of texts; correct the row")
    return tuple(_utf8(item, place, column) for item in value)


def _label(value: Any, place: Place, column: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        got = "nothing" if value is None or isinstance(value, str) else type(value).__name__
        raise LabelError(place, f"column {column!r} holds {got}, expected a label (text, integer or true/false)")
    return _utf8(value.strip(), place, column)


def _value(row: Mapping[str, Any], place: Place, column: str, *, setting: str) -> Any:
    if column not in row:
        found = clip(", ".join(map(repr, row)) or "none", 200)
        message = f"has no column {column!r}, found {found}; set spec.data.columns.{setting} or correct the file"
        raise MissingColumnError(place, message)
    return row[column]


def _utf8(value: str, place: Place, column: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"column {column!r} is not UTF-8 at character {error.start}; save the file as UTF-8"
        raise EncodingError(place, message) from None
    return value
