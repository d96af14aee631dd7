"""
Around every request: the artifact's digest in the response, the limit of the body, the closed routes, the metrics.

Once the server is leaving it says that it is not ready, and asks every client to connect anew, elsewhere.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import orjson

from bertjob_serving.predictor import metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DIGEST_HEADER: Final = "x-bertjob-artifact"
"""sha256 of the manifest of the artifact that answered."""
_CLOSED: Final = "/v2/repository"
"""KServe lets every client unload the model there."""
_INFERENCE: Final = (":predict", "/infer")
_READY: Final = "/ready"
"""How the paths of readiness probes end."""


class _TooLarge(Exception):  # noqa: N818  # leaves the application early; no error of ours
    """The body is longer than allowed."""


class Guard:
    """ASGI middleware of the predictor."""

    def __init__(self, app: App, *, digest: str, max_body_bytes: int, leaving: Callable[[], bool]) -> None:
        self._app, self._digest, self._max_body_bytes, self._leaving = app, digest, max_body_bytes, leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (DIGEST_HEADER.encode(), self._digest.encode())]
                if self._leaving():
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        if not scope["path"].endswith(_INFERENCE):
            await self._handle(scope, receive, marked)
            return
        with metrics.IN_FLIGHT.track_inprogress():
            try:
                await self._handle(scope, receive, marked)
            finally:
                metrics.observe(code=status, seconds=time.perf_counter() - start, version=self._digest)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(_CLOSED):
            await _refuse(send, 404, f"{_CLOSED}: is closed; which model is served is decided by its InferenceService")
            return
        if self._leaving() and scope["path"].endswith(_READY):
            await _refuse(send, 503, "the server was told to end and takes no new clients")
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body_bytes:
                raise _TooLarge
            return message

        too_large = f"body: is longer than {self._max_body_bytes} bytes; send fewer texts at once"
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            await _refuse(send, 413, too_large)
            return
        try:
            await self._app(scope, limited, send)
        except _TooLarge:
            await _refuse(send, 413, too_large)


async def _refuse(send: Send, status: int, message: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps({"error": message})})
