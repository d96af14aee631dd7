"""``/healthz``, ``/readyz`` and ``/metrics`` for the kubelet and for Prometheus."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

Checks = Mapping[str, Callable[[], bool]]
"""By name, what must hold now."""


@asynccontextmanager
async def serve(
    *,
    ready: Checks,
    healthy: Checks | None = None,
    metrics: Callable[[], bytes] = bytes,
    host: str = "",
    port: int = 8080,
) -> AsyncIterator[int]:
    """
    Serve while the context lasts and give the port.

    Args:
        ready: ``/readyz`` is 200 while all hold, else 503 with the names of those that do not.
        healthy: the same for ``/healthz``, where an answer alone shows that the event loop turns.
        metrics: gives the body of ``/metrics``.
        host: address to listen on; "" for all.
        port: 0 for any free one.

    """
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", _answering(healthy or {})),
            web.get("/readyz", _answering(ready)),
            web.get("/metrics", _exposing(metrics)),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host or None, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answering(checks: Checks) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        failed = [name for name, holds in checks.items() if not holds()]
        return web.Response(text=f"not yet: {', '.join(failed)}\n" if failed else "ok\n", status=503 if failed else 200)

    return answer


def _exposing(metrics: Callable[[], bytes]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return answer
