"""Watches lose nothing: over a killed API server, an expired version, half-open and cut connections, a kind that appears."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.faulty_proxy import proxy_to

from bertjob_api.cluster import CONFIG_MAP, Change, ClusterError, Kind, Object, Ref
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.delays import Timings
from bertjob_operator.runtime.http import HttpCluster, connect

pytestmark = pytest.mark.cluster

MakeNamespace = Callable[[LocalCluster], str]

QUICK = Timings(
    request=timedelta(seconds=5),
    watch_silence=timedelta(seconds=2),
    backoff_first=timedelta(milliseconds=50),
    backoff_most=timedelta(milliseconds=200),
    not_served=timedelta(milliseconds=200),
)
LABELS = {"watched": "yes"}


def _object(namespace: str, name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": LABELS}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def _patiently(act: Callable[[], Any]) -> Any:
    """Return the result of a call that an API server on its way up may refuse at first."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await act()
            except ClusterError:
                await asyncio.sleep(0.1)


async def _next(changes: AsyncGenerator[Change]) -> tuple[str, str]:
    async with asyncio.timeout(60):
        change = await anext(changes)
    return change.type, change.object.get("metadata", {}).get("name", "")


@asynccontextmanager
async def _watched(cluster: HttpCluster, namespace: str, *existing: str) -> AsyncIterator[AsyncGenerator[Change]]:
    """Give a synced stream of changes of the labelled objects of *namespace*, of which *existing* are there."""
    changes = cluster.changes(CONFIG_MAP, namespace=namespace, labels=LABELS)
    try:
        assert [await _next(changes) for _ in existing] == [("Added", name) for name in existing]
        assert await _next(changes) == ("Synced", "")
        yield changes
    finally:
        await changes.aclose()


async def test_api_server_killed_and_started_again(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """After kill -9 and a new start on the same port the stream goes on: nothing twice, nothing lost, no second Synced."""
    namespace = make_namespace(real_api)
    async with connect(real_api.layout.kubeconfig, timings=QUICK) as cluster:
        await cluster.apply(_object(namespace, "before"), manager="m")
        async with _watched(cluster, namespace, "before") as changes:
            await asyncio.to_thread(real_api.kill, "apiserver")
            with pytest.raises(ClusterError, match="no answer"):
                await cluster.list(CONFIG_MAP)
            await asyncio.to_thread(real_api.start, "apiserver")
            await _patiently(lambda: cluster.apply(_object(namespace, "after"), manager="m"))
            await _patiently(lambda: cluster.delete(Ref(CONFIG_MAP, namespace, "before")))

            assert await _next(changes) == ("Added", "after")
            assert await _next(changes) == ("Deleted", "before")


async def test_expired_version(
    real_api: LocalCluster, make_namespace: MakeNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A watch whose version the server has forgotten (410) delivers what was deleted, changed and added meanwhile."""
    caplog.set_level(logging.INFO)
    namespace = make_namespace(real_api)
    async with (
        connect(real_api.layout.kubeconfig, timings=QUICK) as direct,
        proxy_to(real_api.layout.kubeconfig, tmp_path) as (proxy, kubeconfig),
        connect(kubeconfig, timings=QUICK) as cluster,
    ):
        for name in ("changed", "deleted", "kept", "replaced"):
            await direct.apply(_object(namespace, name), manager="m")
        async with _watched(cluster, namespace, "changed", "deleted", "kept", "replaced") as changes:
            pending = asyncio.create_task(_next(changes))
            proxy.accepting = False
            assert proxy.cut()
            await direct.delete(Ref(CONFIG_MAP, namespace, "deleted"))
            await direct.delete(Ref(CONFIG_MAP, namespace, "replaced"))
            await direct.apply(_object(namespace, "replaced"), manager="m")
            await direct.apply(_object(namespace, "changed", x="1"), manager="m")
            await direct.apply(_object(namespace, "new"), manager="m")
            # A new API server remembers only what came after its start, so the watch's version is too old for it.
            await asyncio.to_thread(real_api.restart, "apiserver")
            proxy.accepting = True

            found = [await pending, *[await _next(changes) for _ in range(4)]]
            assert found == [
                ("Deleted", "deleted"),
                ("Deleted", "replaced"),
                ("Modified", "changed"),
                ("Added", "new"),
                ("Added", "replaced"),
            ]
    assert "too old resource version" in caplog.text


async def test_half_open_connection(real_api: LocalCluster, make_namespace: MakeNamespace, tmp_path: Path) -> None:
    """A connection that stays established but carries nothing is noticed by its silence and replaced."""
    namespace = make_namespace(real_api)
    async with (
        connect(real_api.layout.kubeconfig, timings=QUICK) as direct,
        proxy_to(real_api.layout.kubeconfig, tmp_path) as (proxy, kubeconfig),
        connect(kubeconfig, timings=QUICK) as cluster,
        _watched(cluster, namespace) as changes,
    ):
        pending = asyncio.create_task(_next(changes))
        await direct.apply(_object(namespace, "first"), manager="m")
        assert await pending == ("Added", "first")

        pending = asyncio.create_task(_next(changes))
        assert proxy.freeze()
        await direct.apply(_object(namespace, "second"), manager="m")
        assert await pending == ("Added", "second")


async def test_cut_connection_during_a_write(
    real_api: LocalCluster, make_namespace: MakeNamespace, tmp_path: Path
) -> None:
    """A write whose connection ends is unavailable, not successful, and the next one works."""
    namespace = make_namespace(real_api)
    async with (
        proxy_to(real_api.layout.kubeconfig, tmp_path) as (proxy, kubeconfig),
        connect(kubeconfig, timings=QUICK) as cluster,
    ):
        proxy.accepting = False
        with pytest.raises(ClusterError, match=f"apply ConfigMap {namespace}/a: no answer"):
            await cluster.apply(_object(namespace, "a"), manager="m")
        proxy.accepting = True
        await cluster.apply(_object(namespace, "a"), manager="m")


async def test_kind_that_is_installed_later(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """A watch of a kind that is not served is synced and empty, and delivers once its CRD is there."""
    namespace = make_namespace(real_api)
    kind = Kind("tests.example", "v1", "Late", "lates")
    definition = _definition(kind)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x", "namespace": namespace}}
    async with connect(real_api.layout.kubeconfig, timings=QUICK) as cluster:
        changes = cluster.changes(kind, namespace=namespace)
        assert await _next(changes) == ("Synced", "")
        pending = asyncio.create_task(_next(changes))
        await cluster.request("POST", path, body=definition)
        try:
            collection = f"/apis/{kind.api_version}/namespaces/{namespace}/{kind.plural}"
            await _patiently(lambda: cluster.request("POST", collection, body=obj))
            assert await pending == ("Added", "x")
        finally:
            await changes.aclose()
            await cluster.request("DELETE", f"{path}/{kind.plural}.{kind.group}")


def _definition(kind: Kind) -> Object:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {"kind": kind.kind, "plural": kind.plural},
            "versions": [{"name": kind.version, "served": True, "storage": True, "schema": schema}],
        },
    }
