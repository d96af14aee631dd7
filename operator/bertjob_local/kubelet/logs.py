"""Which part of a log file is asked for. Pure but for reading the file."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 16
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRange:
    """What one start of a container wrote into its log."""

    path: Path
    start: int
    """Offset in bytes of its first byte."""
    end: int | None
    """Offset after its last byte; None: up to the end of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What ``kubectl logs`` asks for."""

    follow: bool = False
    tail_lines: int | None = None
    """Only so many last lines; None: all."""
    limit_bytes: int | None = None
    """At most so many bytes; None: all."""


async def read(log: LogRange, wanted: Wanted, *, is_growing: Callable[[], bool]) -> AsyncIterator[bytes]:
    """
    Yield the wanted bytes of a log.

    Args:
        log: where they are.
        wanted: which.
        is_growing: whether more may still be written; asked when following.

    """
    with log.path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) if log.end is None else log.end
        position = log.start if wanted.tail_lines is None else _tail_start(log, end, wanted.tail_lines)
        left = wanted.limit_bytes
        while left is None or left > 0:
            was_growing = wanted.follow and log.end is None and is_growing()
            file.seek(position)
            stop = _CHUNK if log.end is None else min(_CHUNK, log.end - position)
            data = file.read(stop)[:left]
            if data:
                position += len(data)
                left = None if left is None else left - len(data)
                yield data
            elif was_growing:
                await asyncio.sleep(_POLL_S)
            else:
                return


def _tail_start(log: LogRange, end: int, lines: int) -> int:
    """Return the offset at which the last *lines* lines begin."""
    if lines <= 0:
        return end
    with log.path.open("rb") as file:
        position, breaks = end, 0
        while position > log.start:
            size = min(_CHUNK, position - log.start)
            position -= size
            file.seek(position)
            data = file.read(size)
            if position + size == end and data.endswith(b"\n"):
                breaks -= 1  # the last line's own end separates nothing
            found = data.count(b"\n")
            if breaks + found >= lines:
                return position + _after_break(data, breaks + found - lines)
            breaks += found
    return log.start


def _after_break(data: bytes, skipped: int) -> int:
    """Return the offset after line break number *skipped*, 0-based."""
    offset = -1
    for _ in range(skipped + 1):
        offset = data.index(b"\n", offset + 1)
    return offset + 1
