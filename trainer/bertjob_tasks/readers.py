"""Rows to examples: what every task reads, with as many bad rows as the user tolerates."""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertjob_api.spec import Columns, Data
from bertjob_tasks import rows
from bertjob_tasks.errors import (
    DataError,
    EmptyTextError,
    EncodingError,
    LabelError,
    MissingColumnError,
    NoExamplesError,
    Place,
    RowError,
    clip,
)

_NAMED_ROWS: Final = 10
"""Skipped rows that the log names; a million lines would hide everything else."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text."""

    text: str
    label: str
    place: Place


def read_examples(path: Path, data: Data, *, labels: Collection[str] | None = None) -> Iterator[Example]:
    """
    Yield the examples of a file or folder, in order of file names and lines.

    Args:
        path: file or folder on this machine.
        data: format, columns and how many bad rows to skip, each with a warning.
        labels: labels that a row may have; None: any.

    Raises:
        DataError: more bad rows than tolerated (the first one over the limit), no file, or no example at all.

    """
    skipped = 0
    count = 0
    for file in rows.files(path, data.format):
        for place, row in rows.read(file, data.format):
            example = row if isinstance(row, RowError) else _example(row, place, data.columns, labels)
            if isinstance(example, Example):
                count += 1
                yield example
                continue
            skipped += 1
            if skipped > data.max_bad_rows:
                raise _over(example, data.max_bad_rows)
            if skipped <= _NAMED_ROWS:
                _log.warning("skipped row %d of at most %d: %s", skipped, data.max_bad_rows, example)
    if skipped > _NAMED_ROWS:
        _log.warning("skipped %d rows of %s, the first %d are named above", skipped, path.name, _NAMED_ROWS)
    if count == 0:
        raise NoExamplesError(f"{path.name}: has no example, expected at least one row; check spec.data")


def _over(error: RowError, limit: int) -> DataError:
    """Return *error* as it is, or with the tolerance named when rows before it were tolerated."""
    if limit == 0:
        return error
    return type(error)(error.place, f"{error.problem} (spec.data.maxBadRows: {limit} rows before it)")


def _example(
    row: Mapping[str, Any], place: Place, columns: Columns, labels: Collection[str] | None
) -> Example | RowError:
    try:
        text = _text(row, place, columns.text)
        label = _label(row, place, columns.label)
    except RowError as error:
        return error
    if labels is not None and label not in labels:
        known = clip(", ".join(sorted(labels)), 200)
        got = f"got the label {clip(label)!r}, expected one of {known}"
        return LabelError(place, f"{got}; correct it or add it to spec.model.labels and to the training data")
    return Example(text, label, place)


def _text(row: Mapping[str, Any], place: Place, column: str) -> str:
    value = _column(row, place, column, setting="text")
    if not isinstance(value, str):
        got = type(value).__name__
        raise MissingColumnError(place, f"column {column!r} holds {got}, expected a text; correct the row")
    if not value.strip():
        raise EmptyTextError(place, f"column {column!r} is empty, expected a text; fill in or remove the row")
    return _utf8(value, place, column)


def _label(row: Mapping[str, Any], place: Place, column: str) -> str:
    """Return the label's spelling: JSON numbers and truth values become text, as CSV files have them."""
    value = _column(row, place, column, setting="label")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        got = "nothing" if value is None or isinstance(value, str) else type(value).__name__
        raise LabelError(place, f"column {column!r} holds {got}, expected a label (text, integer or true/false)")
    return _utf8(value.strip(), place, column)


def _column(row: Mapping[str, Any], place: Place, column: str, *, setting: str) -> Any:
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
