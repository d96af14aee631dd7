"""
Mistakes in a user's data or model folder.

Every message says file and line, what was got, what was expected and the next step. Texts of the data are never quoted:
messages reach logs and status, which may outlive the right to keep the data.

Errors::

    DataError (ValueError)
    +- RowError                one row; ``spec.data.maxBadRows`` tolerates so many of them
    |  +- EncodingError        not UTF-8
    |  +- SyntaxRowError       not JSON, or not as many columns as the header has
    |  +- MissingColumnError   the text or the label is not there
    |  +- EmptyTextError       nothing but white space
    |  +- LabelError           not a label, or not one of the known labels
    +- NoExamplesError         nothing to train or to evaluate on
    +- UnsupportedError        a format or kind of model that this version does not read
    +- ModelFolderError        a file of a model folder is missing or unreadable
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the data something stands."""

    file: str
    """Name of the file within the data set."""
    line: int
    """1-based line on which the row begins."""
    path: str = ""
    """Where in a file that is one JSON value: ``data[0].paragraphs[1].qas[2]``; empty: the line says it all."""

    def __str__(self) -> str:
        """Return the spelling that editors open: ``train.jsonl:12``; or ``train.json:data[0]...``, which jq takes."""
        return f"{self.file}:{self.path or self.line}"


class DataError(ValueError):
    """The user's data or model folder cannot be used as it is."""


class RowError(DataError):
    """One row cannot be used."""

    def __init__(self, place: Place, message: str) -> None:
        self.place = place
        self.problem = message
        super().__init__(f"{place}: {message}")


class EncodingError(RowError):
    """A row holds bytes that are not UTF-8."""


class SyntaxRowError(RowError):
    """A row does not follow the file's format."""


class MissingColumnError(RowError):
    """A row lacks a column, or holds something other than text in it."""


class EmptyTextError(RowError):
    """A row's text is empty."""


class LabelError(RowError):
    """A row's label cannot be used."""


class NoExamplesError(DataError):
    """There is nothing to learn from."""


class UnsupportedError(DataError):
    """No reader of this version understands what it was given."""


class ModelFolderError(DataError):
    """A file of a model folder is missing or unreadable."""


def clip(text: str, size: int = 60) -> str:
    """Return at most *size* characters of a foreign name, for messages."""
    return text if len(text) <= size else f"{text[: size - 3]}..."
