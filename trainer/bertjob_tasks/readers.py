"""Rows to examples, with as many bad rows as the user tolerates; what a row means is the task's affair."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from bertjob_api.spec import Data
from bertjob_tasks import columns, rows
from bertjob_tasks.errors import DataError, LabelError, NoExamplesError, Place, RowError, clip

L = TypeVar("L")
E = TypeVar("E")
Parse = Callable[[Mapping[str, Any], Place], E]
"""A row to an example; raises RowError."""

_NAMED_ROWS: Final = 10
"""Skipped rows that the log names; a million lines would hide everything else."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Example(Generic[L]):
    """One labelled text, or pair of texts."""

    text: str
    label: L
    """The class, the number, or the set of labels."""
    place: Place
    second: str | None = None
    """The second text of a pair."""


def read(
    path: Path, data: Data, parse: Parse[E], *, formats: Mapping[str, tuple[str, ...]] = rows.TABLES
) -> Iterator[E]:
    """
    Yield the examples of a file or folder, in order of file names and lines.

    Args:
        path: file or folder on this machine.
        data: format, and how many bad rows to skip, each with a warning.
        parse: makes an example of a row.
        formats: formats that the task reads, with their file names' endings.

    Raises:
        DataError: more bad rows than tolerated (the first one over the limit), no file, or no example at all.

    """
    skipped = 0
    count = 0
    for file in rows.files(path, data.format, formats=formats):
        for place, row in rows.read(file, data.format):
            example = row if isinstance(row, RowError) else _parsed(row, place, parse)
            if not isinstance(example, RowError):
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


def read_examples(path: Path, data: Data, *, labels: Collection[str] | None = None) -> Iterator[Example[str]]:
    """Yield texts with one label each, one of *labels* (None: any), as ``read`` does."""

    def parse(row: Mapping[str, Any], place: Place) -> Example[str]:
        text = columns.text(row, place, data.columns.text)
        label = columns.label(row, place, data.columns.label)
        refuse_unknown((label,), labels, place)
        return Example(text, label, place)

    return read(path, data, parse)


def refuse_unknown(found: Collection[str], known: Collection[str] | None, place: Place) -> None:
    """Raise LabelError for the first of the labels that is not *known* (None: all are)."""
    unknown = [label for label in found if known is not None and label not in known]
    if unknown:
        expected = clip(", ".join(sorted(known or ())), 200)
        got = f"got the label {clip(unknown[0])!r}, expected one of {expected}"
        raise LabelError(place, f"{got}; correct it or add it to spec.model.labels and to the training data")


def _over(error: RowError, limit: int) -> DataError:
    """Return *error* as it is, or with the tolerance named when rows before it were tolerated."""
    if limit == 0:
        return error
    return type(error)(error.place, f"{error.problem} (spec.data.maxBadRows: {limit} rows before it)")


def _parsed(row: Mapping[str, Any], place: Place, parse: Parse[E]) -> E | RowError:
    try:
        return parse(row, place)
    except RowError as error:
        return error
