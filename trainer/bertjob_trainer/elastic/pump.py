"""Output of child processes on its way to the pod's log: prefixed line by line, with the last lines kept for messages."""

import os
import select
import threading
from collections import deque
from typing import BinaryIO, Final

_CHUNK: Final = 65536
_LONGEST_LINE: Final = 65536
"""A longer line is broken, so that a program that never ends a line cannot fill the memory."""
_IDLE_S: Final = 0.1

_writing = threading.Lock()
"""Lines of several programs must not mix within a line."""


class Tail:
    """The last lines that a program wrote."""

    def __init__(self, lines: int = 20) -> None:
        self._lines: deque[str] = deque(maxlen=lines)

    def add(self, line: bytes) -> None:
        """Keep a line."""
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._lines.append(text)

    def text(self) -> str:
        """Return the lines, oldest first."""
        return "\n".join(self._lines.copy())


class Pump(threading.Thread):
    """Copies lines from a pipe to a stream until the pipe ends, or until it is told to finish and nothing is left."""

    def __init__(self, source: int, sink: BinaryIO, *, prefix: str = "", tail: Tail | None = None) -> None:
        """
        Prepare; ``start`` starts it.

        Args:
            source: file descriptor of the pipe's read end; closed at the end.
            sink: where lines go.
            prefix: put before each line.
            tail: keeps the last lines, without prefix.

        """
        super().__init__(name="pump", daemon=True)
        self._source = source
        self._sink = sink
        self._prefix = prefix.encode()
        self._tail = tail
        self._finishing = threading.Event()

    def rename(self, prefix: str) -> None:
        """Put another prefix before each line from now on."""
        self._prefix = prefix.encode()

    def finish(self, timeout_s: float = 2.0) -> None:
        """Copy what is in the pipe, then stop: some descendant may hold the other end open for ever."""
        self._finishing.set()
        self.join(timeout_s)

    def run(self) -> None:
        """Copy until the end."""
        rest = b""
        try:
            while True:
                ready, _, _ = select.select([self._source], [], [], _IDLE_S)
                if not ready:
                    if self._finishing.is_set():
                        break
                    continue
                data = os.read(self._source, _CHUNK)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                self._write(lines)
            self._write([rest] if rest else [])
        finally:
            os.close(self._source)

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        for line in lines:
            if self._tail is not None:
                self._tail.add(line)
        with _writing:
            self._sink.write(b"".join(self._prefix + line + b"\n" for line in lines))
            self._sink.flush()
