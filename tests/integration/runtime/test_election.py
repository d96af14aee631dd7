"""Leadership on a real Lease: takeover after a crash, release on SIGTERM, and never two leaders at once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import pytest
from support.async_waiting import until
from support.candidate import TERMS
from support.faulty_proxy import FaultyProxy, proxy_to

from bertjob_api.cluster import LEASE, Object
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.http import HttpCluster, connect
from bertjob_operator.runtime.lease import Elector, LeadershipLostError

pytestmark = pytest.mark.cluster

MakeNamespace = Callable[[LocalCluster], str]
Process = asyncio.subprocess.Process


@asynccontextmanager
async def _candidate(cluster: LocalCluster, namespace: str, identity: str) -> AsyncIterator[Process]:
    argv = (sys.executable, "-m", "support.candidate", str(cluster.layout.kubeconfig), namespace, "x", identity)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, env=env)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _says(process: Process, word: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert (await process.stdout.readline()).decode().strip() == word


async def _lease(cluster: HttpCluster, namespace: str) -> Object:
    [lease] = await cluster.list(LEASE, namespace=namespace, name="x")
    spec = lease["spec"]
    assert isinstance(spec, dict)
    return spec


async def test_crash_and_sigterm(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """After kill -9 the next process leads when the lease is over; after SIGTERM the Lease is released in its name."""
    namespace = make_namespace(real_api)
    async with (
        connect(real_api.layout.kubeconfig) as cluster,
        _candidate(real_api, namespace, "first") as first,
        _candidate(real_api, namespace, "second") as second,
    ):
        leader, waiting = await _ordered(first, second)
        crashed_holder = (await _lease(cluster, namespace))["holderIdentity"]
        leader.kill()
        await _says(waiting, "leads")
        after_crash = await _lease(cluster, namespace)
        waiting.send_signal(signal.SIGTERM)
        await _says(waiting, "ended")
        assert await waiting.wait() == 0
        released = await _lease(cluster, namespace)

    assert {crashed_holder, after_crash["holderIdentity"]} == {"first", "second"}
    assert after_crash["leaseTransitions"] == 1
    assert released["holderIdentity"] == ""


async def _ordered(first: Process, second: Process) -> tuple[Process, Process]:
    """Return the process that leads and the one that does not, as soon as one leads."""
    tasks = [asyncio.create_task(_says(process, "leads")) for process in (first, second)]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    done.pop().result()
    return (first, second) if tasks[0] not in waiting else (second, first)


class _Office:
    """Who leads now; two at once are a failure."""

    def __init__(self) -> None:
        self.leaders: list[str] = []
        self.terms: list[str] = []
        self.overlaps: list[list[str]] = []

    async def lead(self, identity: str) -> None:
        self.leaders.append(identity)
        self.terms.append(identity)
        if len(self.leaders) > 1:
            self.overlaps.append(list(self.leaders))
        try:
            await asyncio.Event().wait()
        finally:
            self.leaders.remove(identity)


async def test_never_two_leaders(real_api: LocalCluster, make_namespace: MakeNamespace, tmp_path: Path) -> None:
    """However often the leader's connection goes dead, it stops before the next one starts, and somebody leads again."""
    namespace = make_namespace(real_api)
    office = _Office()
    async with AsyncExitStack() as stack:
        proxies: dict[str, FaultyProxy] = {}
        group = await stack.enter_async_context(_tasks())
        for identity in ("a", "b", "c"):
            proxy, kubeconfig = await stack.enter_async_context(proxy_to(real_api.layout.kubeconfig, tmp_path))
            cluster = await stack.enter_async_context(connect(kubeconfig))
            proxies[identity] = proxy
            group.append(asyncio.create_task(_run(cluster, namespace, identity, office)))
        for number in range(1, 4):
            await until(lambda count=number: len(office.terms) == count)
            proxy = proxies[office.terms[-1]]
            proxy.freezing = True
            proxy.freeze()
        await until(lambda: not office.leaders)

    assert office.overlaps == []
    assert sorted(office.terms) == ["a", "b", "c"]


async def _run(cluster: HttpCluster, namespace: str, identity: str, office: _Office) -> None:
    elector = Elector(cluster, namespace=namespace, name="x", identity=identity, terms=TERMS)
    with pytest.raises(LeadershipLostError):
        await elector.run(lambda: office.lead(identity))


@asynccontextmanager
async def _tasks() -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Give a list; the tasks in it are cancelled at the end, and the failure of one is raised."""
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def test_deleted_lease(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """A Lease that somebody deletes is made again by its leader, who goes on."""
    namespace = make_namespace(real_api)
    office = _Office()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/x"
    async with connect(real_api.layout.kubeconfig) as cluster:
        elector = Elector(cluster, namespace=namespace, name="x", identity="a", terms=TERMS)
        task = asyncio.create_task(elector.run(lambda: office.lead("a")))
        await until(lambda: office.leaders)
        old = (await cluster.request("GET", path))["metadata"]["uid"]
        await cluster.request("DELETE", path)
        new = await _other_lease(cluster, namespace, old)

        assert new["spec"]["holderIdentity"] == "a"
        assert elector.leading
        task.cancel()
        await asyncio.wait({task})
        assert (await _lease(cluster, namespace))["holderIdentity"] == ""


async def _other_lease(cluster: HttpCluster, namespace: str, uid: str) -> Object:
    """Return the Lease as soon as it is another one than that with *uid*."""
    async with asyncio.timeout(60), aclosing(cluster.changes(LEASE, namespace=namespace)) as changes:
        async for change in changes:
            if change.type == "Added" and change.object["metadata"]["uid"] != uid:
                return change.object
    raise AssertionError
