"""Showing changing lines: redrawn in place on a terminal, appended when they say something new elsewhere."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TextIO

QUIET_S: Final = 5.0
"""Seconds between two lines of the same phase in a log."""
TURN_S: Final = 0.2
"""Seconds between two positions of the sign that a phase goes on."""
SIGNS: Final = "|/-\\"
MARK: Final = slice(0, 6)
"""Where a line says that its phase is done."""


class Display:
    """Lines about one thing, on stderr."""

    def __init__(self, stream: TextIO = sys.stderr, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._redraws = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = clock
        self._drawn = 0
        self._lines: Sequence[str] = ()
        self._turns = 0
        self._since: tuple[str, float] = ("", 0.0)
        """Phase that goes on, and when it began."""
        self._shown: dict[str, tuple[str, float]] = {}

    def show(self, lines: Sequence[str]) -> None:
        """Show the newest state."""
        self._lines = lines
        if self._redraws:
            self._redraw(self._going(lines))
        else:
            self._append(lines)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Show within this block, on a terminal, that and for how long the current phase goes on."""
        turning = asyncio.create_task(self._turn()) if self._redraws else None
        try:
            yield
        finally:
            if turning is not None:
                turning.cancel()
                with suppress(asyncio.CancelledError):
                    await turning

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(TURN_S)
            self._turns += 1
            self._redraw(self._going(self._lines))

    def _going(self, lines: Sequence[str]) -> list[str]:
        """Return the lines with a turning sign and the seconds at the first phase that is not done."""
        current = _current(lines)
        if current == len(lines):
            return list(lines)
        phase = lines[current][6:18]
        if phase != self._since[0]:
            self._since = (phase, self._clock())
        seconds = f"{self._clock() - self._since[1]:4.0f} s"
        sign = SIGNS[self._turns % len(SIGNS)]
        marked = f"  {sign}     {lines[current][8:19]:<11}{seconds}  {lines[current][19:]}".rstrip()
        return [*lines[:current], marked, *lines[current + 1 :]]

    def _redraw(self, lines: Sequence[str]) -> None:
        width = shutil.get_terminal_size().columns - 1
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._stream.write(back + "".join(f"\x1b[2K{line[:width]}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)

    def _append(self, lines: Sequence[str]) -> None:
        """
        Write what is new; lines that begin alike are about the same phase and come at most every ``QUIET_S``.

        Nothing is written about phases that the job has not come to.
        """
        now = self._clock()
        for line in lines[: _current(lines) + 1]:
            key, (last, at) = line[6:18], self._shown.get(line[6:18], ("", float("-inf")))
            settled = line[:6] != last[:6]
            if line.rstrip() != last and len(line) > len(key) + 6 and (settled or now - at >= QUIET_S):
                self._shown[key] = (line, now)
                self._stream.write(f"{line}\n")
        self._stream.flush()


def _current(lines: Sequence[str]) -> int:
    """Return which line tells of the first phase that is not done; after the last when all are."""
    return next((index for index, line in enumerate(lines) if not line[MARK].strip()), len(lines))
