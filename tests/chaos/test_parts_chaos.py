"""
Random faults on real parts: a real API server that is killed, the real Job controller, and pods that a fake kubelet ends.

Each schedule has a job, a namespace and operators of its own: killed, with watches cut, 409, 429, 500, answers lost or slow, a
stale cache and a clock that jumps. The API server is killed under all of them.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

import pytest
from support.cluster import install_crd, running, settings_for
from support.fake_kubelet import EVALUATION, End, FakeKubelet, fails
from support.faults import Schedule
from support.jobs import a_job
from support.operating import SETTINGS, gone, together, until
from support.scenarios import timeless
from support.witness import Witness, differences, operated

from bertjob_api import names
from bertjob_api.cluster import (
    CONFIG_MAP,
    JOB,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    Cluster,
    Object,
    UnavailableError,
)
from bertjob_local.parts import API_ONLY, LocalCluster
from bertjob_operator.runtime.http import connect
from bertjob_operator.shell.observe import is_owned

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

T = TypeVar("T")

SEEDS = range(20)
AT_ONCE = 5
KILLS = 2
"""Of the API server, under each group of schedules that run beside each other."""
JUMP = timedelta(minutes=5)
"""Longest jump of an operator's clock, either way; the server's own does not jump."""
SCENARIOS: dict[str, dict[str, Any]] = {
    "undisturbed": {},
    "a pod fails": {names.TRAIN: [fails(75, "StorageUnreachable", "timed out")]},
    "gate refuses": {names.OPTIMIZE: [fails(42, "GateFailed", "no", evaluation=EVALUATION)]},
    "user error": {names.TRAIN: [fails(42, "LossNotFinite", "the loss is nan"), End(holds=True)]},
}
FOUND = (JOB, POD, SERVICE, CONFIG_MAP, SERVICE_ACCOUNT)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give a cluster for these tests alone: its API server is killed."""
    settings = settings_for(*API_ONLY, "controller-manager")
    with running(tmp_path_factory.mktemp("fragile"), settings) as cluster:
        install_crd(cluster)
        yield cluster


async def _end(cluster: Cluster, scenario: dict[str, Any], schedule: Schedule, *, namespace: str) -> dict[str, Any]:
    """Return what is left at the end of one job."""
    job = a_job(training={"replicas": 2}, optimize={}, gate={})
    job["metadata"]["namespace"] = namespace
    script = {key: list(ends) for key, ends in scenario.items()}
    kubelet = FakeKubelet(cluster, script=script, namespace=namespace)
    witness = Witness(cluster, namespace=namespace)
    around = (kubelet.run(), kubelet.look_again(), witness.watch_status(), witness.watch_jobs())
    operators = operated(cluster, schedule, replace(SETTINGS, namespace=namespace))
    async with together(*around, operators):
        await _create(cluster, job)
        ended = await until(cluster, job, "Succeeded", "Failed", seconds=240)
        async with asyncio.timeout(120):
            await gone(cluster, SERVICE, names.store_name("sentiment"), namespace=namespace)
            await gone(cluster, POD, names.store_name("sentiment"), namespace=namespace)
            while await _running_pods(cluster, namespace):  # noqa: ASYNC110  # their end is in the cluster, not here
                await asyncio.sleep(0.2)
        return {"complaints": witness.complaints, **await _left(cluster, ended)}


async def _persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Return the answer to *call*, asking again while the API server is away."""
    while True:
        try:
            return await call()
        except UnavailableError:
            await asyncio.sleep(0.2)


async def _create(cluster: Cluster, job: Object) -> None:
    place: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": job["metadata"]["namespace"]}}
    for wanted in (place, job):
        await _persistently(partial(cluster.apply, wanted, manager="user"))


async def _running_pods(cluster: Cluster, namespace: str) -> list[Object]:
    pods = await _persistently(partial(cluster.list, POD, namespace=namespace))
    return [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


async def _left(cluster: Cluster, job: Object) -> dict[str, Any]:
    """Return the children that stand, those without their owner, and the verdict."""
    namespace, uid = job["metadata"]["namespace"], job["metadata"]["uid"]
    labels = {names.JOB_LABEL: job["metadata"]["name"]}
    lists = [partial(cluster.list, kind, namespace=namespace, labels=labels) for kind in FOUND]
    children = [each for ask in lists for each in await _persistently(ask)]
    owned = {uid, *(each["metadata"]["uid"] for each in children if is_owned(each, uid))}
    orphans = [each["metadata"]["name"] for each in children if not any(is_owned(each, owner) for owner in owned)]
    status = timeless(job["status"])
    verdicts = {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}
    # How many pods a Job has had is the Job controller's business: it is cut off from the API server, too.
    stand = [each for each in children if each["kind"] != POD.kind]
    return {
        "children": sorted(f"{each['kind']} {each['metadata']['name']}" for each in stand),
        "orphans": orphans,
        "verdicts": verdicts,
        "attempt": status["attempt"],
        "artifacts": status.get("artifacts"),
    }


async def _killer(cluster: LocalCluster, random: Random) -> None:
    """Kill the API server a few times; more often, and Kubernetes' own controllers would see none of it."""
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.5, 4))
        await asyncio.to_thread(cluster.crash, "apiserver")
        await asyncio.to_thread(cluster.wait_ready, "apiserver")


async def test_random_faults_on_real_parts(fragile: LocalCluster) -> None:
    """Whatever goes wrong, each job ends as on a calm day, with no child twice or left over, and no status goes back."""
    injected: Counter[str] = Counter()
    wrong: list[str] = []
    async with connect(fragile.layout.kubeconfig) as cluster:
        calm = {
            name: await _end(cluster, scenario, Schedule(0, budget=0), namespace=f"calm-{index}")
            for index, (name, scenario) in enumerate(SCENARIOS.items())
        }

        async def one(seed: int) -> None:
            name = list(SCENARIOS)[seed % len(SCENARIOS)]
            schedule = Schedule(seed, jump=JUMP)
            outcome = await _end(cluster, SCENARIOS[name], schedule, namespace=f"chaos-{seed}")
            injected.update(schedule.injected)
            wrong.extend(f"seed {seed} ({name}): {line}" for line in differences(outcome, calm[name]))

        for first in range(0, len(SEEDS), AT_ONCE):
            async with together(_killer(fragile, Random(first))), asyncio.TaskGroup() as group:  # noqa: S311
                for seed in SEEDS[first : first + AT_ONCE]:
                    group.create_task(one(seed))
            await asyncio.to_thread(fragile.wait_ready, "apiserver")

    assert not wrong, "\n".join(wrong)
    assert set(injected) >= {
        *("clock jump", "conflict", "error", "kill after", "kill before", "late change"),
        *("lost answer", "slow", "too many requests", "watch cut"),
    }
