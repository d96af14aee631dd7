"""Wait for a condition of something real, never for a fixed time."""

import os
import select
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, timeout_s: float = 60.0) -> T:
    """Return the first true answer of *condition*; AssertionError with its name when none comes."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{condition.__name__} did not hold within {timeout_s:.0f} s"
        time.sleep(0.05)
    return answer


def all_end(pids: list[int], *, each_within_s: float = 5.0) -> bool:
    """Return whether all processes end; a zombie, which only its parent can remove, has ended."""
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(pidfd):
            if not select.select([pidfd], [], [], each_within_s)[0]:
                return False
    return True
