"""
The API of a cluster in which nothing happens but what a test tells, behind TLS; and the operator's own process on it.

It stores nothing: a write is answered as if it had been done, and counted.
"""

import asyncio
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from bertjob_api.cluster import KINDS, Kind, Object
from bertjob_local.parts import pki
from bertjob_operator.runtime import calls

VERSION: Final = "1000000"
"""Of every list: objects are older, events are newer."""


@dataclass
class FrozenApi:
    """Shows *objects* of each kind and what is pushed."""

    objects: Callable[[Kind], Iterable[Object]]
    writes: list[tuple[float, str, str]] = field(default_factory=list)
    """When (seconds, monotonic), method and path of each request that is neither list nor watch."""
    on_write: Callable[[str, str], None] = lambda _method, _path: None
    """Told of each, as it arrives."""
    _watchers: dict[Kind, list[web.StreamResponse]] = field(default_factory=dict)

    async def push(self, kind: Kind, event: str, value: Object) -> None:
        """Send an event to every watch of *kind*."""
        line = orjson.dumps({"type": event, "object": value}) + b"\n"
        for response in self._watchers.get(kind, ()):
            await response.write(line)

    def is_watched(self, kind: Kind) -> bool:
        """Tell whether somebody waits for events of *kind*."""
        return bool(self._watchers.get(kind))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        kind = next((kind for kind in KINDS if request.path == calls.collection(kind)), None)
        if kind is None or request.method != "GET":
            return await self._written(request)
        return await self._watch(kind, request) if "watch" in request.query else self._list(kind, request)

    def _list(self, kind: Kind, request: web.Request) -> web.Response:
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        page, more = [], False
        for index, each in enumerate(self.objects(kind)):
            more = index >= start + limit
            if more:
                break
            if index >= start:
                page.append(each)
        token = {"continue": str(start + limit)} if more else {}
        body = orjson.dumps({"metadata": {"resourceVersion": VERSION, **token}, "items": page})
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._watchers.setdefault(kind, []).append(response)
        await asyncio.Event().wait()
        return response

    async def _written(self, request: web.Request) -> web.Response:
        self.writes.append((time.monotonic(), request.method, request.path))
        self.on_write(request.method, request.path)
        body = orjson.loads(await request.read() or b"{}")
        metadata = {"uid": "u", "resourceVersion": VERSION, **body.get("metadata", {})}
        return web.json_response({**body, "metadata": metadata})


def _make_account(folder: Path) -> None:
    for argv in (pki.ca_argv(folder), pki.serving_argv(folder)):
        subprocess.run(("openssl", *argv), check=True, capture_output=True)
    (folder / "token").write_text("token")


@asynccontextmanager
async def serving(api: FrozenApi, folder: Path) -> AsyncIterator[dict[str, str]]:
    """Serve *api* on loopback, write a pod's ``token`` and ``ca.crt`` to *folder*, and give the variables of a pod."""
    _make_account(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "serving.crt", folder / "serving.key")
    runner = web.ServerRunner(web.Server(api.answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        yield {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(runner.addresses[0][1])}
    finally:
        await runner.cleanup()


@asynccontextmanager
async def operator(folder: Path, env: dict[str, str], *, turns: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
    """Give an operator's process, started as in a pod, once it has looked *turns* times at a job."""
    argv = ("-m", "bertjob_operator", f"--service-account={folder}", "--no-leader-election", "--health-port=0")
    own = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    log = folder / "operator.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, "--health-host=127.0.0.1", env={**own, **env}, stderr=stderr
        )
    try:
        while log.read_bytes().count(b'"reconciled"') < turns:
            assert process.returncode is None, log.read_text()[-2000:]
            await asyncio.sleep(0.1)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
