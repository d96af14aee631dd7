"""What only some commands need: packages of an extra of ``bertjob``, which are missing where it was not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing(extra: str, *, command: str) -> Iterator[None]:
    """Import in the block; raises ValueError naming *extra* where a package outside the project is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("bertjob_"):
            raise
        message = f"bertjob {command}: the package {error.name} is missing, expected those of the extra {extra}; pip install 'bertjob[{extra}]'"
        raise ValueError(message) from error
