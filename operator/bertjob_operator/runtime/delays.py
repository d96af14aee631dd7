"""How long to wait before trying again (pure)."""

from dataclasses import dataclass
from datetime import timedelta


def exponential(failures: int, *, first: timedelta, most: timedelta) -> timedelta:
    """
    Return ``first * 2**failures``, at most *most*.

    Args:
        failures: earlier failures in a row, 0 for the first wait.
        first: wait after the first failure.
        most: longest wait.

    """
    longest = most.total_seconds()
    doublings = min(failures, 1000)  # beyond that the power overflows, and every real bound is reached long before
    return timedelta(seconds=min(first.total_seconds() * 2.0**doublings, longest))


def jittered(delay: timedelta, *, share: float) -> timedelta:
    """Return *delay* less up to half of it: *share* in [0, 1) is the random number, so that clients spread out."""
    return delay * (1 - share / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Waits of the HTTP client and its watches; tests shorten them."""

    connect: timedelta = timedelta(seconds=10)
    """Longest TCP and TLS handshake."""
    request: timedelta = timedelta(seconds=30)
    """Longest whole answer to anything but a watch."""
    watch_shortest: timedelta = timedelta(seconds=290)
    watch_longest: timedelta = timedelta(seconds=580)
    """The server ends a watch after a random time between the two, so that watches do not all start again at once."""
    watch_silence: timedelta = timedelta(seconds=90)
    """A watch without any byte for so long is taken for dead; bookmarks come about once a minute."""
    backoff_first: timedelta = timedelta(seconds=0.8)
    backoff_most: timedelta = timedelta(seconds=30)
    not_served: timedelta = timedelta(seconds=30)
    """How often to look whether the server has learned a kind."""
