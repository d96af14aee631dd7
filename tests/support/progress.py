"""A real HTTP server that takes progress reports as the supervisor does."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from bertjob_api.parse import parse
from bertjob_api.progress import Progress


class ProgressServer:
    """Keeps every report it gets."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self._arrived = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer._arrived:
                    outer.reports.append(parse(Progress, json.loads(body), path="progress"))
                    outer._arrived.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """Return where to POST."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, wanted: Callable[[Progress], bool], *, timeout_s: float = 120) -> Progress:
        """Return the first report that is *wanted*, when it has come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: any(map(wanted, self.reports)), timeout=timeout_s), self.reports[-3:]
            return next(filter(wanted, self.reports))
