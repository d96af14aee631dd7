"""The client against a small HTTP server that answers as an API server may: refusals, pages, long lines, new tokens."""

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from support.async_waiting import until
from support.frozen_api import FrozenApi, serving

from bertjob_api.cluster import (
    CONFIG_MAP,
    POD,
    ConflictError,
    ForbiddenError,
    InvalidError,
    Ref,
    UnavailableError,
)
from bertjob_operator.runtime import calls
from bertjob_operator.runtime.delays import Timings
from bertjob_operator.runtime.errors import RetryLaterError
from bertjob_operator.runtime.http import HttpCluster, connect

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

QUICK = Timings(
    request=timedelta(seconds=20), backoff_first=timedelta(milliseconds=1), backoff_most=timedelta(milliseconds=1)
)
POD_X = Ref(POD, "default", "x")


@asynccontextmanager
async def _api(handler: Handler, folder: Path, *, timings: Timings = QUICK, **user: str) -> AsyncIterator[HttpCluster]:
    """Give a client of a server that answers everything with *handler*; *user* is the kubeconfig's user."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        kubeconfig = _kubeconfig(folder, f"http://127.0.0.1:{runner.addresses[0][1]}/prefix", user)
        async with connect(kubeconfig, timings=timings) as cluster:
            yield cluster
    finally:
        await runner.cleanup()


def _kubeconfig(folder: Path, server: str, user: dict[str, str]) -> Path:
    path = folder / "kubeconfig"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def _status(code: int, message: str = "no") -> web.Response:
    return web.json_response({"kind": "Status", "message": message, "code": code}, status=code)


def _page(names: list[str], token: str = "") -> web.Response:
    items = [{"metadata": {"name": name, "resourceVersion": "1", "managedFields": [{}]}} for name in names]
    return web.json_response({"metadata": {"resourceVersion": "9", "continue": token}, "items": items})


async def test_pages_become_one_list_of_whole_objects(tmp_path: Path) -> None:
    """Every page is read; items get the apiVersion and kind that the server leaves out, and lose managedFields."""

    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/prefix/api/v1/configmaps"
        assert request.query["limit"] == str(calls.PAGE)
        return _page(["b"]) if request.query.get("continue") == "next" else _page(["a"], "next")

    async with _api(answer, tmp_path) as cluster:
        assert await cluster.list(CONFIG_MAP) == [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": "1"}}
            for name in "ab"
        ]


async def test_expired_page_token_reads_all_at_once(tmp_path: Path) -> None:
    """When the state of a list is gone before its last page, the list is read without pages."""

    async def answer(request: web.Request) -> web.Response:
        if request.query.get("continue"):
            return _status(410)
        return _page(["a", "b"]) if request.query["limit"] == "0" else _page(["a"], "next")

    async with _api(answer, tmp_path) as cluster:
        assert [obj["metadata"]["name"] for obj in await cluster.list(CONFIG_MAP)] == ["a", "b"]


async def test_one_request_per_write(tmp_path: Path) -> None:
    """No write reads first, and one that fails is not repeated behind the caller's back."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.method)
        return _status(409)

    async with _api(answer, tmp_path) as cluster:
        for write in (
            cluster.apply(_config_map(), manager="m"),
            cluster.replace(POD_X, "/spec/a", old=1, new=2, uid="u"),
            cluster.patch_status(POD_X, {}),
            cluster.delete(POD_X),
        ):
            with pytest.raises(ConflictError):
                await write

    assert seen == ["PATCH", "PATCH", "PATCH", "DELETE"]


def _config_map() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b", "managedFields": []}}


async def test_apply_sends_no_managed_fields(tmp_path: Path) -> None:
    """The server refuses managedFields in an apply, so an object that carries them is sent without."""
    sent: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append(json.loads(await request.read()))
        return web.json_response(_config_map())

    async with _api(answer, tmp_path) as cluster:
        stored = await cluster.apply(_config_map(), manager="m")

    assert "managedFields" not in sent[0]["metadata"]
    assert "managedFields" not in stored["metadata"]


async def test_new_token_after_401(tmp_path: Path) -> None:
    """A token that was changed on disk is read again when the server refuses the old one, and the request repeated."""
    token = tmp_path / "token"
    token.write_text("old")
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return _page([]) if seen[-1] == "Bearer new" else _status(401)

    async with _api(answer, tmp_path, tokenFile=str(token)) as cluster:
        token.write_text("new\n")
        assert await cluster.list(CONFIG_MAP) == []

    assert seen == ["Bearer old", "Bearer new"]


async def test_refused_token_is_not_tried_for_ever(tmp_path: Path) -> None:
    """A second 401 is an error, and the token is in no message."""

    async def answer(_: web.Request) -> web.Response:
        return _status(401, "Unauthorized")

    async with _api(answer, tmp_path, token="very-secret") as cluster:
        with pytest.raises(ForbiddenError, match="list configmaps: 401 Unauthorized") as caught:
            await cluster.list(CONFIG_MAP)

    assert "very-secret" not in str(caught.value)


async def test_busy_server(tmp_path: Path) -> None:
    """429 with Retry-After tells how long to stay away."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3"})

    async with _api(answer, tmp_path) as cluster:
        with pytest.raises(RetryLaterError) as caught:
            await cluster.patch_status(POD_X, {})

    assert caught.value.retry_after == timedelta(seconds=3)


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    """The token goes to the configured server only."""

    async def answer(request: web.Request) -> web.Response:
        assert request.path.startswith("/prefix/")
        raise web.HTTPFound("/elsewhere")

    async with _api(answer, tmp_path) as cluster:
        with pytest.raises(InvalidError, match="302"):
            await cluster.list(CONFIG_MAP)


async def test_no_answer(tmp_path: Path) -> None:
    """A server that closes without an answer, talks nonsense or sends half an answer is unavailable."""
    nonsense = [b"", b"<html>", b"[]", b'{"items": [']

    async def answer(request: web.Request) -> web.Response:
        text = nonsense.pop()
        if not text:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=text)

    async with _api(answer, tmp_path) as cluster:
        while nonsense:
            with pytest.raises(UnavailableError, match="patch status of Pod default/x"):
                await cluster.patch_status(POD_X, {"a": 1})


async def test_unreachable_server(tmp_path: Path) -> None:
    """A closed port is unavailable, and the message says what was asked."""
    async with connect(_kubeconfig(tmp_path, "http://127.0.0.1:1", {})) as cluster:
        with pytest.raises(UnavailableError, match="delete Pod default/x: no answer"):
            await cluster.delete(POD_X)


async def test_slow_server(tmp_path: Path) -> None:
    """An answer that takes longer than the limit is no answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.Event().wait()
        return response

    async with _api(answer, tmp_path, timings=Timings(request=timedelta(seconds=0.2))) as cluster:
        with pytest.raises(UnavailableError, match="no answer: TimeoutError"):
            await cluster.patch_status(POD_X, {})


async def test_long_watch_lines(tmp_path: Path) -> None:
    """An object of several MiB arrives in one piece: the stock limit of the HTTP library is far below that."""
    big = "x" * 5 * 2**20

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return _page([])
        response = web.StreamResponse()
        await response.prepare(request)
        obj = {"metadata": {"name": "a", "resourceVersion": "10", "managedFields": [big]}, "data": {"a": big}}
        await response.write(json.dumps({"type": "ADDED", "object": obj}).encode() + b"\n")
        return response

    async with _api(answer, tmp_path) as cluster:
        changes = cluster.changes(CONFIG_MAP)
        found = [await anext(changes), await anext(changes)]
        await changes.aclose()

    assert [change.type for change in found] == ["Synced", "Added"]
    assert found[1].object == {"metadata": {"name": "a", "resourceVersion": "10"}, "data": {"a": big}}


async def test_watch_parameters(tmp_path: Path) -> None:
    """A watch starts from the version of the list, asks for bookmarks and ends after a random time within the limits."""
    queries: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return _page([])
        queries.append(dict(request.query))
        event = {"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "10"}}}
        return web.Response(body=json.dumps(event).encode() + b"\n")

    async with _api(answer, tmp_path) as cluster:
        changes = cluster.changes(CONFIG_MAP, labels={"a": "b"})
        await anext(changes)
        await anext(changes)
        await changes.aclose()

    seconds = int(queries[0].pop("timeoutSeconds"))
    assert 290 <= seconds <= 580
    assert queries[0] == {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": "9", "labelSelector": "a=b"}


async def test_no_socket_outlives_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that is given up is closed with the session, though TLS would wait for the server's goodbye."""
    api = FrozenApi(lambda _: ())
    async with serving(api, tmp_path) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        async with connect(service_account=tmp_path) as cluster:
            changes = cluster.changes(POD)
            assert (await anext(changes)).type == "Synced"
            waiting = asyncio.create_task(anext(changes))
            await until(lambda: api.is_watched(POD))
            assert _sockets_to(int(env["KUBERNETES_SERVICE_PORT"])) > 0
            waiting.cancel()
            await asyncio.wait({waiting})
        assert _sockets_to(int(env["KUBERNETES_SERVICE_PORT"])) == 0


def _sockets_to(port: int) -> int:
    opened = (each for each in gc.get_objects() if type(each) is socket.socket and each.family == socket.AF_INET)
    return sum(_peer(each) == port for each in opened)


def _peer(each: socket.socket) -> int | None:
    try:
        return each.getpeername()[1]
    except OSError:  # closed, or not connected
        return None
