"""Showing changing lines: redrawn in place on a terminal, appended when they say something new elsewhere."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, TextIO

QUIET_S: Final = 5.0
"""Seconds between two lines of the same phase in a log."""


class Display:
    """Lines about one thing, on stderr."""

    def __init__(self, stream: TextIO = sys.stderr, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._drawn = 0
        self._shown: dict[str, tuple[str, float]] = {}

    def show(self, lines: Sequence[str]) -> None:
        """Show the newest state."""
        if self._stream.isatty():
            self._redraw(lines)
        else:
            self._append(lines)

    def _redraw(self, lines: Sequence[str]) -> None:
        width = shutil.get_terminal_size().columns - 1
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._stream.write(back + "".join(f"\x1b[2K{line[:width]}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)

    def _append(self, lines: Sequence[str]) -> None:
        """Write what is new; lines that begin alike are about the same phase and come at most every ``QUIET_S``."""
        now = self._clock()
        for line in lines:
            key, (last, at) = line[6:18], self._shown.get(line[6:18], ("", float("-inf")))
            settled = line[:6] != last[:6]
            if line.rstrip() != last and len(line) > len(key) + 6 and (settled or now - at >= QUIET_S):
                self._shown[key] = (line, now)
                self._stream.write(f"{line}\n")
        self._stream.flush()
