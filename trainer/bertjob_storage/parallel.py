"""Several transfers at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE: Final = 4
"""Files under way at once; each S3 transfer has parallel parts of its own."""


def each(items: Iterable[T], work: Callable[[T], R]) -> list[R]:
    """Return what *work* gives for every item, in order; the first error is raised after the work under way has ended."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
