"""
The part of a kubelet's HTTPS interface behind ``kubectl logs``: ``GET /containerLogs/NAMESPACE/POD/CONTAINER``.

Source: Kubernetes API reference, "read log of the specified Pod": query parameters.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from bertjob_local.kubelet.logs import LogRange, Wanted, read

Find = Callable[[str, str, str, bool], tuple[LogRange, Callable[[], bool]] | None]
"""Takes namespace, pod, container and whether the previous start is meant; returns its log and whether it still grows."""

_HEAD_LIMIT: Final = 1 << 16


def tls(folder: Path) -> ssl.SSLContext:
    """Return the server's TLS settings from ``serving.crt``, ``serving.key`` and ``ca.crt``; clients must be of that CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "serving.crt", folder / "serving.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def serving(addresses: Sequence[str], *, find: Find, context: ssl.SSLContext | None) -> AsyncIterator[list[int]]:
    """Serve logs on free ports of *addresses* and give these ports in the same order; *context* None: plain HTTP."""
    open_now: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a handler runs as a task"
        open_now.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await _answer(reader, writer, find)
        except asyncio.CancelledError:
            return
        finally:
            open_now.discard(task)
            writer.close()

    servers = [await asyncio.start_server(handle, address, 0, ssl=context, limit=_HEAD_LIMIT) for address in addresses]
    try:
        yield [int(server.sockets[0].getsockname()[1]) for server in servers]
    finally:
        for server in servers:
            server.close()
        for task in tuple(open_now):
            task.cancel()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, find: Find) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, _ = head.split("\r\n", 1)[0].split(" ", 2)
    url = urlsplit(target)
    parts = [unquote(part) for part in url.path.split("/")]
    if method != "GET" or len(parts) != 5 or parts[1] != "containerLogs":
        await _send(writer, 404, b"only /containerLogs/NAMESPACE/POD/CONTAINER is served here\n")
        return
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    found = find(parts[2], parts[3], parts[4], query.get("previous") == "true")
    if found is None:
        await _send(writer, 404, f"container {parts[4]} of pod {parts[3]} has no such log\n".encode())
        return
    log, is_growing = found
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")
    async for data in read(log, _wanted(query), is_growing=is_growing):
        writer.write(data)
        await writer.drain()


def _wanted(query: dict[str, str]) -> Wanted:
    return Wanted(
        follow=query.get("follow") == "true",
        tail_lines=int(query["tailLines"]) if query.get("tailLines", "").isdigit() else None,
        limit_bytes=int(query["limitBytes"]) if query.get("limitBytes", "").isdigit() else None,
    )


async def _send(writer: asyncio.StreamWriter, code: int, text: bytes) -> None:
    head = f"HTTP/1.1 {code} -\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + text)
    await writer.drain()
