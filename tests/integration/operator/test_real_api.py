"""The operator on a real API server with the real Job controller; pods are ended by a fake kubelet."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support import counting
from support.fake_kubelet import MODEL, SERVED, End, FakeKubelet, add_node, fails
from support.jobs import a_job
from support.operating import SETTINGS, condition, gone, none_left, together, until, watching
from support.wrapped import Crash, Wrapped

from bertjob_api import names
from bertjob_api.cluster import EVENT, JOB, NODE, SERVICE, Cluster, Object, Ref
from bertjob_api.parse import dump
from bertjob_local.parts import LocalCluster
from bertjob_operator.plan import Platform
from bertjob_operator.runtime.http import HttpCluster, connect
from bertjob_operator.shell.operator import run
from bertjob_operator.shell.settings import Settings

pytestmark = pytest.mark.cluster


def _wanted(namespace: str, **spec: Any) -> Object:
    job = a_job(training={"replicas": 2}, optimize={}, **spec)
    job["metadata"]["namespace"] = namespace
    return job


@asynccontextmanager
async def _kubelet(real: LocalCluster, **script: list[End]) -> AsyncIterator[tuple[HttpCluster, FakeKubelet]]:
    async with connect(real.layout.kubeconfig) as cluster:
        kubelet = FakeKubelet(cluster, script=script)
        async with together(kubelet.run()):
            yield cluster, kubelet


async def test_whole_way(real_controllers: LocalCluster, namespace: str) -> None:
    """A job is trained and optimized, its store is removed, and every event is stored."""
    wanted = _wanted(namespace)
    async with _kubelet(real_controllers) as (cluster, kubelet), together(run(cluster, SETTINGS)):
        await cluster.apply(wanted, manager="user")
        job = await until(cluster, wanted, "Succeeded", "Failed")
        async with asyncio.timeout(30):
            await gone(cluster, SERVICE, names.store_name("sentiment"), namespace=namespace)
            reasons = await _event_reasons(cluster, namespace, last="Completed")

    assert condition(job, "Succeeded")["status"] == "True", job["status"]
    assert job["status"]["artifacts"] == {"model": dump(MODEL), "optimized": dump(SERVED)}
    assert kubelet.started == {"preflight": 1, "store": 1, "train": 2, "optimize": 1}
    assert {"PreflightPassed", "TrainingCompleted", "GatePassed", "Completed"} <= reasons


async def test_requests_of_whole_lives(
    real_controllers: LocalCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From creation to end, jobs cost the writes that their plans need, each once, and no read beside the watches."""
    wanted, settings = (
        [_named(f"job-{number}", namespace) for number in range(4)],
        replace(SETTINGS, namespace=namespace),
    )
    with counting.turns(monkeypatch) as turns, counting.requests() as asked:
        async with _kubelet(real_controllers) as (cluster, _), together(counting.operating(cluster, settings)):
            for job in wanted:
                await cluster.apply(job, manager="user")
            for job in wanted:
                await until(cluster, job, "Succeeded")
            async with asyncio.timeout(30):
                await none_left(cluster, SERVICE, namespace=namespace)

    needed = counting.needed(turns)
    assert counting.grouped(asked.writes) == needed
    assert asked.reads == {}
    # A Job that is still ending when its result is known is applied once more, suspended.
    once = [
        f"apply {what}"
        for what in ("ServiceAccount {}-worker", "ConfigMap {}-spec", "Service {}-store", "Pod {}-store")
    ]
    once += ["delete Pod {}-store", "delete Service {}-store"]
    names_of = [f"{namespace}/{job['metadata']['name']}" for job in wanted]
    assert {needed[what.format(name)] for what in once for name in names_of} == {1}


def _named(name: str, namespace: str) -> Object:
    job = _wanted(namespace)
    return {**job, "metadata": {**job["metadata"], "name": name}}


async def _event_reasons(cluster: Cluster, namespace: str, *, last: str) -> set[str]:
    """Return the reasons of the job's events, once one with the reason *last* is there."""
    reasons: set[str] = set()
    async with watching(cluster, EVENT, namespace=namespace) as changes:
        async for change in changes:
            if change.object and change.object["regarding"]["kind"] == "BertJob":
                reasons.add(change.object["reason"])
            if last in reasons and change.type != "Synced":
                break
    found = await cluster.list(EVENT, namespace=namespace)
    return {event["reason"] for event in found if event["regarding"]["kind"] == "BertJob"}


async def test_user_error_fails_the_job_at_once(real_controllers: LocalCluster, namespace: str) -> None:
    """Exit code 42 of one worker ends training without another try, and the other worker is stopped."""
    wanted = _wanted(namespace)
    script = {names.TRAIN: [fails(42, "LossNotFinite", "the loss is nan at step 12"), End(holds=True)]}
    async with _kubelet(real_controllers, **script) as (cluster, kubelet), together(run(cluster, SETTINGS)):
        await cluster.apply(wanted, manager="user")
        job = await until(cluster, wanted, "Succeeded", "Failed")

    assert condition(job, "Failed")["reason"] == "LossNotFinite"
    assert job["status"]["lastFailure"]["exitCode"] == 42
    assert kubelet.started[names.TRAIN] == 2


async def test_steady_state_writes_nothing(real_controllers: LocalCluster, namespace: str) -> None:
    """While training goes on and nothing happens, a fresh operator finds everything as it wants it."""
    wanted = _wanted(namespace)
    script = {names.TRAIN: [End(holds=True), End(holds=True)]}
    async with _kubelet(real_controllers, **script) as (cluster, _):
        async with together(run(cluster, SETTINGS)):
            await cluster.apply(wanted, manager="user")
            await until(cluster, wanted, "Training")
            await _scheduled_or_running(cluster, namespace)
        counted = Wrapped(cluster)
        other = _wanted(namespace)
        other["metadata"]["name"] = "other"
        async with together(run(counted, SETTINGS)):
            await cluster.apply(other, manager="user")
            await until(cluster, other, "Succeeded", "Failed")

    # Jobs of other tests may still be going away.
    ours = [write for write in counted.writes if f" {namespace}/" in write]
    assert [write for write in ours if "/other" not in write] == []
    assert len(ours) > 10


async def _scheduled_or_running(cluster: HttpCluster, namespace: str) -> None:
    """Wait until the status shows both workers."""
    async with watching(cluster, JOB, namespace=namespace, labels={names.COMPONENT_LABEL: names.TRAIN}) as changes:
        async for change in changes:
            if change.object.get("status", {}).get("ready") == 2:
                return


async def _until_crash(operator: Wrapped, wanted: Object, settings: Settings) -> bool:
    """Run an operator until it crashes, or until the job has ended and nothing is left to write; tell whether it crashed."""
    work = asyncio.create_task(run(operator, settings))
    end = asyncio.create_task(_ended(operator.cluster, wanted))
    await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
    for task in (work, end):
        task.cancel()
    outcomes = await asyncio.gather(work, end, return_exceptions=True)
    crashes = [each for each in outcomes if isinstance(each, BaseExceptionGroup)]
    assert all(each.subgroup(Crash) is not None for each in crashes), crashes
    return bool(crashes)


async def _ended(cluster: Cluster, wanted: Object) -> None:
    await until(cluster, wanted, "Succeeded", "Failed")
    await _event_reasons(cluster, wanted["metadata"]["namespace"], last="Completed")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["crash_before", "crash_after"])
async def test_any_crash_is_repaired(
    real_controllers: LocalCluster, make_namespace: Callable[[LocalCluster], str], namespace: str, when: str
) -> None:
    """Whatever write is the last of an operator, the next one ends the job alike, with no child twice or left over."""
    async with _kubelet(real_controllers) as (cluster, kubelet):
        for index in itertools.count():
            place = make_namespace(real_controllers)
            wanted, settings = _wanted(place), replace(SETTINGS, namespace=place)
            started, first = kubelet.started.copy(), Wrapped(cluster, **{when: index})
            await cluster.apply(wanted, manager="user")
            crashed = await _until_crash(first, wanted, settings)
            async with together(run(cluster, settings)):
                job = await until(cluster, wanted, "Succeeded", "Failed")
                async with asyncio.timeout(30):
                    await gone(cluster, SERVICE, names.store_name("sentiment"), namespace=place)
            where = f"{when} of write {index}: {first.writes[-1:]}"
            names_left = sorted(each["metadata"]["name"] for each in await cluster.list(JOB, namespace=place))
            assert condition(job, "Succeeded")["status"] == "True", f"{where}: {job['status']}"
            assert kubelet.started - started == {"preflight": 1, "store": 1, "train": 2, "optimize": 1}, where
            assert names_left == ["sentiment-optimize", "sentiment-preflight", "sentiment-train-0"], where
            if not crashed:
                break
    assert index > 12


async def test_killed_process_is_replaced(real_controllers: LocalCluster, namespace: str) -> None:
    """After kill -9 of the leading process another one takes the Lease over and ends the job."""
    wanted = _wanted(namespace)
    script = {names.TRAIN: [End(holds=True), End(holds=True)]}
    async with _kubelet(real_controllers, **script) as (cluster, kubelet):
        await cluster.apply(wanted, manager="user")
        first = await _process(real_controllers, namespace)
        try:
            await until(cluster, wanted, "Training")
        finally:
            first.send_signal(signal.SIGKILL)
            await first.wait()
        await kubelet.release(names.TRAIN)
        second = await _process(real_controllers, namespace)
        try:
            job = await until(cluster, wanted, "Succeeded", "Failed")
        finally:
            second.send_signal(signal.SIGTERM)
            code = await second.wait()

    assert condition(job, "Succeeded")["status"] == "True", job["status"]
    assert kubelet.started == {"preflight": 1, "store": 1, "train": 2, "optimize": 1}
    assert code == 0


async def test_pod_of_a_dead_node_is_replaced(real_controllers: LocalCluster, namespace: str) -> None:
    """A worker on a node that stays silent is given up; the real Job controller replaces it and counts no failure."""
    wanted = _wanted(namespace, backoff={"limit": 0})
    script = {names.TRAIN: [End(holds=True), End(holds=True)]}
    settings = replace(SETTINGS, namespace=namespace, platform=Platform(node_grace=timedelta(seconds=1)))
    async with _kubelet(real_controllers, **script) as (cluster, kubelet), together(run(cluster, settings)):
        kubelet.binds_to = "node-x"
        await add_node(cluster, "node-x")
        await cluster.apply(wanted, manager="user")
        await until(cluster, wanted, "Training")
        kubelet.binds_to = None
        await add_node(cluster, "node-x", ready=False)
        job = await until(cluster, wanted, "Succeeded", "Failed")
        [training] = await cluster.list(JOB, namespace=namespace, labels={names.COMPONENT_LABEL: names.TRAIN})
        await cluster.delete(Ref(NODE, "", "node-x"))

    assert condition(job, "Succeeded")["status"] == "True", job["status"]
    assert (job["status"]["training"]["restarts"], job["status"]["training"]["disruptions"]) == (0, 2)
    assert "failed" not in training["status"]
    assert kubelet.started[names.TRAIN] == 4


async def _process(real: LocalCluster, namespace: str) -> asyncio.subprocess.Process:
    env = {**os.environ, "BERTJOB_OPERATOR_NAMESPACE": namespace, "PYTHONPATH": "operator"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bertjob_operator",
        f"--kubeconfig={real.layout.kubeconfig}",
        f"--lease-namespace={namespace}",
        "--health-host=127.0.0.1",
        "--health-port=0",
        env=env,
        stderr=asyncio.subprocess.DEVNULL,
    )
