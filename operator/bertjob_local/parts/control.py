"""
Requests to the supervising process: one line of JSON each way over a Unix socket in the state folder.

The socket is reached through the folder's descriptor, because a socket's path may have 107 bytes at most.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertjob_local.parts.layout import Layout

TIMEOUT_S = 10.0
_LONGEST = 65_536


class NotRunningError(RuntimeError):
    """No supervising process answers in this state folder."""


def listen(layout: Layout) -> socket.socket:
    """Return a listening socket that only this user can reach."""
    layout.control.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    with _short_path(layout.control) as path:
        server.bind(path)
    layout.control.chmod(0o600)
    server.listen()
    server.setblocking(False)
    return server


def ask(layout: Layout, request: dict[str, Any]) -> dict[str, Any]:
    """
    Return the answer to one request.

    Raises:
        NotRunningError: nobody listens.
        ValueError: the request was refused; the message says why.

    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT_S)
        try:
            with _short_path(layout.control) as path:
                client.connect(path)
            client.sendall(json.dumps(request).encode() + b"\n")
            line = read_line(client)
        except OSError as error:
            msg = f"no local cluster runs in {layout.root}; start one with `up`"
            raise NotRunningError(msg) from error
    if not line:
        msg = f"the local cluster in {layout.root} ended during the request"
        raise NotRunningError(msg)
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer


def read_line(connection: socket.socket) -> bytes:
    """Return the bytes up to the first newline or the end; OSError on a time-out."""
    received = b""
    while not received.endswith(b"\n") and len(received) < _LONGEST:
        more = connection.recv(4096)
        if not more:
            break
        received += more
    return received


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
