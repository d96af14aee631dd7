"""The supervisor's HTTP: for the cluster on the pod's address to read, for the workers on loopback to write."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from bertjob_api.parse import parse
from bertjob_api.progress import Progress
from bertjob_trainer.supervisor_progress import Board, as_json, as_metrics, from_kubeflow

_log = logging.getLogger(__name__)
_LARGEST_BODY: Final = 1 << 20
_IDLE_S: Final = 10

PROGRESS: Final = "/progress"
KUBEFLOW: Final = "/kubeflow/status"
FAILURES: Final = "/failures"
"""Where the launcher says, with an empty body, that it starts the workers again."""


def serve(board: Board, *, address: str, port: int, writable: bool) -> ThreadingHTTPServer:
    """
    Return a running server; ``shutdown`` and ``server_close`` end it.

    Args:
        board: what is read and written.
        address: IP address to listen on.
        port: 0 for a free one.
        writable: accept reports; only for loopback.

    """

    class Handler(_Handler):
        pass

    Handler.board = board
    Handler.writable = writable
    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name=f"http-{port}", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    board: Board
    writable: bool
    timeout = _IDLE_S
    """Of a connection that says nothing, in seconds."""

    def do_GET(self) -> None:
        """Answer /healthz, /progress and /metrics."""
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._answer(HTTPStatus.OK, "text/plain", "ok\n")
        elif path == PROGRESS:
            self._answer(HTTPStatus.OK, "application/json", json.dumps(as_json(self.board.read())))
        elif path == "/metrics":
            self._answer(HTTPStatus.OK, "text/plain; version=0.0.4", as_metrics(self.board.read()))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there are /healthz, /progress and /metrics\n")

    def do_POST(self) -> None:
        """Take a report of a worker, in our spelling or in that of Kubeflow Trainer, or of the launcher."""
        path = self.path.partition("?")[0]
        if path == FAILURES and self.writable:
            self.board.worker_failures += 1
            self._answer(HTTPStatus.OK, "application/json", "{}")
            return
        read = {PROGRESS: _progress, KUBEFLOW: from_kubeflow}.get(path)
        if read is None or not self.writable:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "reports are taken on the URL in BERTJOB_PROGRESS_URL\n")
            return
        try:
            self.board.post(self._read(read), now=time.time())
        except (ValueError, AttributeError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", f"{error}\n")
        else:
            self._answer(HTTPStatus.OK, "application/json", "{}")

    def _read(self, read: Callable[[Mapping[str, Any]], Progress]) -> Progress:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _LARGEST_BODY:
            raise ValueError(f"body: has {length} bytes, expected at most {_LARGEST_BODY}")
        return read(json.loads(self.rfile.read(length)))

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Keep requests, which come every few seconds, out of the pod's log."""
        _log.debug(format, *args)


def _progress(body: Mapping[str, Any]) -> Progress:
    return parse(Progress, body, path="progress")
