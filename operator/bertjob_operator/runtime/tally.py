"""How many requests that write the running turn has sent: what a job costs the API server, without a name in a metric."""

from contextvars import ContextVar
from typing import Final


class Tally:
    """A count that whatever runs on behalf of one turn adds to."""

    def __init__(self) -> None:
        self.writes = 0


_CURRENT: Final[ContextVar[Tally | None]] = ContextVar("tally", default=None)


def begin() -> Tally:
    """Return the count of the task that runs now and of the tasks it starts."""
    tally = Tally()
    _CURRENT.set(tally)
    return tally


def wrote() -> None:
    """Count one request; nothing outside a turn."""
    tally = _CURRENT.get()
    if tally is not None:
        tally.writes += 1
