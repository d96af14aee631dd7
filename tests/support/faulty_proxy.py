"""A TCP proxy that can be told to fail, between a client under test and a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class FaultyProxy:
    """
    Forwards bytes on loopback, until told otherwise.

    ``freeze`` is a half-open connection: it stays established, and nothing arrives any more in either direction.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._frozen: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepting = True
        """False: a new connection is closed at once."""
        self.freezing = False
        """True: new connections are half-open from the start."""
        self.port = 0

    def freeze(self) -> int:
        """Make every open connection half-open; new ones work. Return how many there were."""
        for pair in self._pairs:
            self._frozen.update(pair)
        return len(self._pairs)

    def cut(self) -> int:
        """Reset every open connection. Return how many there were."""
        pairs = list(self._pairs)
        for pair in pairs:
            for writer in pair:
                writer.transport.abort()
        return len(pairs)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepting:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        self._writers += pair
        if self.freezing:
            self._frozen.update(pair)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: self._pairs.discard(pair))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(2**16):
                if sink not in self._frozen:
                    sink.write(data)
                    await sink.drain()
        except OSError:
            pass
        if sink not in self._frozen:
            sink.close()

    async def _end(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def faulty_proxy(target: tuple[str, int]) -> AsyncIterator[FaultyProxy]:
    """Give a proxy to *target* on a free port of 127.0.0.1."""
    proxy = FaultyProxy(target)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy._end()


@asynccontextmanager
async def proxy_to(kubeconfig: Path, folder: Path) -> AsyncIterator[tuple[FaultyProxy, Path]]:
    """Give a proxy to the API server of *kubeconfig*, and a kubeconfig in *folder* that leads through it."""
    async with faulty_proxy(_address(kubeconfig)) as proxy:
        yield proxy, _redirected(kubeconfig, folder, proxy.port)


def _address(kubeconfig: Path) -> tuple[str, int]:
    server = urlsplit(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])
    assert server.hostname is not None
    assert server.port is not None
    return server.hostname, server.port


def _redirected(kubeconfig: Path, folder: Path, port: int) -> Path:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    cluster["server"] = f"{urlsplit(cluster['server']).scheme}://127.0.0.1:{port}"
    path = folder / f"through-{port}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path
