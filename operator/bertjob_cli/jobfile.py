"""Reading a BertJob from a file: every mistake names the file and, where YAML knows it, the line."""

import re
from pathlib import Path
from typing import Any

import yaml

from bertjob_api.job import BertJob, Object, parse_job
from bertjob_api.parse import InvalidSpecError


class Loader(yaml.SafeLoader):
    """PyYAML with the floats of YAML 1.2, as kubectl reads them: 2e-5 is a number."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


class JobFileError(ValueError):
    """A file is no valid BertJob; ``lines`` holds one sentence for each mistake."""

    def __init__(self, path: str, problems: list[str]) -> None:
        self.lines = [f"{path}: {problem}" for problem in problems]
        super().__init__("\n".join(self.lines))


def read(path: Path) -> Object:
    """
    Return the one object that a YAML or JSON file holds.

    Raises:
        JobFileError: it cannot be read, is not YAML, or holds none or several documents.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise JobFileError(str(path), [f"cannot be read ({why}); name a YAML file with a BertJob"]) from error
    try:
        documents = [value for value in yaml.load_all(text, Loader) if value is not None]
    except yaml.YAMLError as error:
        raise JobFileError(_place(path, error), [f"is not YAML ({_problem(error)}); correct that line"]) from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise JobFileError(str(path), [f"holds {len(documents)} documents, expected one BertJob object"])
    found: Object = documents[0]
    return found


def parse(path: Path, value: Object, *, local: bool) -> BertJob:
    """
    Return the job in *value*, which was read from *path*.

    Raises:
        JobFileError: with every mistake found.

    """
    try:
        return parse_job(value, local=local)
    except InvalidSpecError as error:
        raise JobFileError(str(path), error.errors) from error


def _place(path: Path, error: yaml.YAMLError) -> str:
    mark: Any = getattr(error, "problem_mark", None)
    return f"{path}:{mark.line + 1}" if mark is not None else str(path)


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).replace("\n", " ")
