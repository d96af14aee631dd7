"""A whole controller on a real API server: every parent gets its child, and nothing is written when nothing changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from support.async_waiting import until

from bertjob_api.cluster import CONFIG_MAP, Object, Ref
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.controller import Controller, Reconciled, Watch, log
from bertjob_operator.runtime.delays import Timings
from bertjob_operator.runtime.http import HttpCluster, connect

pytestmark = pytest.mark.cluster

MakeNamespace = Callable[[LocalCluster], str]

PARENTS = 40
QUICK = Timings(
    request=timedelta(seconds=5), backoff_first=timedelta(milliseconds=50), backoff_most=timedelta(milliseconds=200)
)


def _parent(namespace: str, name: str, value: str = "1") -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": {"role": "parent"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


class Doubler:
    """Keeps for every parent a child of the same value: level-triggered, and without a write when it fits."""

    def __init__(self, cluster: HttpCluster, namespace: str) -> None:
        watches = [Watch(kind=CONFIG_MAP, namespace=namespace, key_of=self._key_of)]
        self.controller = Controller(cluster, watches, self.reconcile, observe=self._observe)
        self.store = self.controller.stores[CONFIG_MAP]
        self.turns: list[Reconciled] = []
        self._cluster = cluster
        self._namespace = namespace

    def _key_of(self, obj: Object) -> str | None:
        name, role = obj["metadata"]["name"], obj["metadata"].get("labels", {}).get("role")
        return {"parent": name, "child": name.removesuffix("-child")}.get(role)

    def _observe(self, turn: Reconciled) -> None:
        self.turns.append(turn)
        log(turn)

    async def reconcile(self, key: str) -> None:
        """Write the child unless the store shows that it fits."""
        parent = self.store.get(self._namespace, key)
        if parent is None or self.fits(key):
            return
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": key, "uid": parent["metadata"]["uid"]}
        child = _parent(self._namespace, f"{key}-child", parent["data"]["value"])
        child["metadata"] |= {"labels": {"role": "child"}, "ownerReferences": [owner]}
        await self._cluster.apply(child, manager="doubler")

    def fits(self, key: str) -> bool:
        """Tell whether the store has the right child of *key*."""
        parent = self.store.get(self._namespace, key)
        children = self.store.by_owner(parent["metadata"]["uid"]) if parent else []
        return parent is not None and [child["data"] for child in children] == [parent["data"]]

    def has(self, name: str, value: str) -> bool:
        """Tell whether the store has an object of that name and value."""
        found = self.store.get(self._namespace, name)
        return found is not None and found["data"] == {"value": value}


@asynccontextmanager
async def _running(cluster: HttpCluster, namespace: str) -> AsyncIterator[Doubler]:
    doubler = Doubler(cluster, namespace)
    task = asyncio.create_task(doubler.controller.run())
    try:
        yield doubler
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


async def test_children_follow_their_parents(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """Parents that were there, appear, change, or lose their child get the right one, also over a restart of the server."""
    namespace = make_namespace(real_api)
    names = [f"p{number}" for number in range(PARENTS)]
    async with connect(real_api.layout.kubeconfig, timings=QUICK) as cluster:
        await asyncio.gather(*(cluster.apply(_parent(namespace, name), manager="m") for name in names[1:]))
        async with _running(cluster, namespace) as doubler:
            await cluster.apply(_parent(namespace, names[0]), manager="m")
            await until(lambda: all(map(doubler.fits, names)))
            await cluster.apply(_parent(namespace, "p1", "2"), manager="m")
            await cluster.delete(Ref(CONFIG_MAP, namespace, "p2-child"))
            await until(lambda: len(doubler.turns) > PARENTS and all(map(doubler.fits, names)))
            await asyncio.to_thread(real_api.kill, "apiserver")
            doubler.controller.queue.add("p3")  # a turn that writes nothing needs no server
            await asyncio.to_thread(real_api.start, "apiserver")
            await until(lambda: doubler.store.get(namespace, "p1") is not None)
            await _patiently_apply(cluster, _parent(namespace, "p3", "3"))
            await until(lambda: doubler.has("p3-child", "3"))


async def _patiently_apply(cluster: HttpCluster, obj: Object) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await cluster.apply(obj, manager="m")
            except Exception:  # noqa: BLE001  # a server on its way up refuses in several ways
                await asyncio.sleep(0.1)
            else:
                return


async def test_no_writes_when_everything_fits(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """A controller that starts on a cluster in the wanted state looks at every key and writes nothing."""
    namespace = make_namespace(real_api)
    names = [f"p{number}" for number in range(PARENTS)]
    async with connect(real_api.layout.kubeconfig, timings=QUICK) as cluster:
        await asyncio.gather(*(cluster.apply(_parent(namespace, name), manager="m") for name in names))
        async with _running(cluster, namespace) as first:
            await until(lambda: all(map(first.fits, names)))
        async with _running(cluster, namespace) as second:
            await until(lambda: {turn.key for turn in second.turns} == set(names))

    assert sum(turn.writes for turn in first.turns) >= PARENTS
    assert sum(turn.writes for turn in second.turns) == 0
    assert {turn.result for turn in second.turns} == {"done"}
