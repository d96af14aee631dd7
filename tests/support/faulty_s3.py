"""An HTTP proxy before an S3 server that fails as told: errors, resets, refusals, a full disk."""

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

ANSWERS: Final = {
    "500": (500, "InternalError"),
    "busy": (503, "SlowDown"),
    "403": (403, "AccessDenied"),
    "full": (507, "InsufficientStorage"),
}
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class FaultyS3:
    """Which requests fail, and how."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.fault: str | None = None
        """A key of ``ANSWERS``, or ``reset``; None: everything passes."""
        self.every = 1
        """How many requests there are from one failure to the next."""
        self.failed = 0
        self._count = 0
        self._lock = threading.Lock()

    def next_fault(self) -> str | None:
        """Return what becomes of the next request."""
        with self._lock:
            self._count += 1
            if self.fault is None or self._count % self.every:
                return None
            self.failed += 1
            return self.fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faulty: FaultyS3

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faulty.next_fault()
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.close_connection = True
            self.connection.close()
        elif fault is not None:
            status, code = ANSWERS[fault]
            self._answer(status, [], f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode())
        else:
            self._forward(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815  # the base class calls them so

    def _forward(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.faulty.target, timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        kept = [each for each in answer.getheaders() if each[0].lower() not in ("content-length", "transfer-encoding")]
        self._answer(answer.status, kept, data, length=length)
        connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def before(target: str) -> Iterator[tuple[FaultyS3, str]]:
    """Give a proxy before the server at URL *target*, and its own URL."""

    class Handler(_Handler):
        faulty = FaultyS3(target)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Handler.faulty, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
