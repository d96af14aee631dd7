"""
How far the step is: every candidate's process leaves it in a file, and ``GET /progress`` tells it to the operator.

Counted are held-out texts answered, out of those that all candidates will answer: the longest part of the work.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from bertjob_api.parse import dump
from bertjob_api.progress import Progress

PATH: Final = "/progress"
_IDLE_S: Final = 10


@dataclass(slots=True, kw_only=True)
class Board:
    """Where the step is; the step counts candidates up, the server's threads read."""

    folder: Path
    """Working folder of the candidates."""
    methods: tuple[str, ...]
    """Candidates, in their order."""
    texts: int
    """Held-out texts that each answers."""
    finished: int = 0
    """Candidates that are done, however they ended."""

    def read(self) -> Progress:
        """Return how far the step is now."""
        total = self.texts * len(self.methods)
        if self.finished >= len(self.methods):
            return Progress(step=total, total=total, activity="judging the candidates")
        method = self.methods[self.finished]
        answered, activity = _told(_file(self.folder, method))
        return Progress(
            step=self.finished * self.texts + min(answered, self.texts),
            total=total,
            activity=f"candidate {self.finished + 1} of {len(self.methods)}, {method}: {activity}",
        )


Tell = Callable[[str, int], None]
"""Says what is being done and how many held-out texts are answered."""


def teller(folder: Path, method: str) -> Tell:
    """Return what a candidate's process tells its progress with."""
    target = _file(folder, method)
    fresh = target.with_suffix(".new")

    def tell(activity: str, answered: int) -> None:
        fresh.write_text(json.dumps([answered, activity]), encoding="utf-8")
        fresh.rename(target)  # who reads finds one or the other, never half of it

    return tell


def _file(folder: Path, method: str) -> Path:
    return folder / f"{method}.progress"


def _told(path: Path) -> tuple[int, str]:
    try:
        answered, activity = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0, "starting"
    return int(answered), str(activity)


@contextmanager
def served(board: Board, *, address: str | None, port: int) -> Iterator[None]:
    """Answer ``GET /progress`` on *address* while the block runs; None: nobody asks."""
    if address is None:
        yield
        return

    class Handler(_Handler):
        pass

    Handler.board = board
    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    board: Board
    timeout = _IDLE_S
    """Of a connection that says nothing, in seconds."""

    def do_GET(self) -> None:
        """Answer /progress."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"there is {PATH}")
            return
        data = json.dumps(dump(self.board.read())).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keep requests, which come every few seconds, out of the step's log."""
