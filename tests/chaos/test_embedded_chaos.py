"""
Random faults between operator and cluster: every job ends as it does on a calm day, and its status never wavers.

Faults: the operator killed, watches cut, 409, 429, 500, answers lost or slow, caches late, the clock jumping.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.faults import FaultyCluster, Schedule
from support.operating import SETTINGS, together, until, watching
from support.scenarios import JOB_OBJECT, SCENARIOS, begun, settled, world
from support.wrapped import Crash

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, JOB, Object
from bertjob_local.embedded import EmbeddedCluster
from bertjob_operator.shell.operator import Operator

FINAL = ("Accepted", "Trained", "Optimized", "GatePassed", "RolledOut", "Succeeded", "Failed")
"""Conditions that never go back once they are True."""
AT_ONCE = 10
"""Schedules that run beside each other; most of their time is waiting."""
JUMP = timedelta(seconds=8)


class Witness:
    """Sees every version of job and training Jobs, and collects what must not happen."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.complaints: list[str] = []
        self._cluster = cluster
        self._active: dict[str, bool] = {}
        self._stood: defaultdict[str, str] = defaultdict(str)

    async def watch_status(self) -> None:
        """Complain when a verdict, an artifact or the attempt goes back."""
        attempt, artifacts = 0, set[str]()
        async with watching(self._cluster, BERT_JOB) as changes:
            async for change in changes:
                status = change.object.get("status") or {}
                for item in status.get("conditions", ()):
                    self._see_condition(item)
                if status.get("attempt", 0) < attempt or artifacts - set(status.get("artifacts") or ()):
                    self.complaints.append(f"attempt or artifacts went back: {status}")
                attempt = max(attempt, status.get("attempt", 0))
                artifacts |= set(status.get("artifacts") or ())

    def _see_condition(self, item: dict[str, Any]) -> None:
        kind, before = item["type"], self._stood[item["type"]]
        if kind in FINAL and before == "True" and item["status"] != "True":
            self.complaints.append(f"{kind} was True and became {item}")
        self._stood[kind] = item["status"]

    async def watch_jobs(self) -> None:
        """Complain when two attempts run at the same time."""
        async with watching(self._cluster, JOB, labels={names.COMPONENT_LABEL: names.TRAIN}) as changes:
            async for change in changes:
                if change.type == "Synced":
                    continue
                self._active[change.object["metadata"]["name"]] = change.type != "Deleted" and _is_active(change.object)
                running = [name for name, active in self._active.items() if active]
                if len(running) > 1:
                    self.complaints.append(f"attempts at the same time: {running}")


def _is_active(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    over = any(item["type"] in ("Complete", "Failed") and item["status"] == "True" for item in conditions)
    return not over and not job["spec"].get("suspend")


async def _operated(cluster: EmbeddedCluster, schedule: Schedule) -> None:
    """Run operators, a new one whenever one is killed."""
    while True:
        operator = asyncio.create_task(Operator(FaultyCluster(cluster, schedule), SETTINGS, clock=schedule.now).run())
        try:
            await asyncio.wait({operator})
        finally:
            operator.cancel()
            await asyncio.gather(operator, return_exceptions=True)
        end = operator.exception()
        if not isinstance(end, BaseExceptionGroup) or end.subgroup(Crash) is None:
            raise AssertionError(f"the operator ended by itself: {end!r}")


async def _end(scenario: dict[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Return what is left at the end of one run."""
    cluster, kubelet = await begun(scenario)
    witness = Witness(cluster)
    observers = (witness.watch_status(), witness.watch_jobs())
    async with together(cluster.run(), kubelet.run(), *observers, _operated(cluster, schedule)):
        await cluster.apply(JOB_OBJECT, manager="user")
        job = await until(cluster, JOB_OBJECT, "Succeeded", "Failed")
        await settled(cluster)
        [job] = await cluster.list(BERT_JOB)
        return {**await world(cluster, job, kubelet), "complaints": witness.complaints}


def _differences(got: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Yield what differs, a line for each place."""
    if isinstance(got, dict) and isinstance(expected, dict):
        for key in sorted(got.keys() | expected.keys()):
            yield from _differences(got.get(key), expected.get(key), f"{path}.{key}")
    elif got != expected:
        yield f"{path[1:]}: got {got}, expected {expected}"


async def _all(seeds: Iterator[int]) -> Counter[str]:
    """Compare the end of each schedule with the calm one; return the faults that were injected."""
    calm = {name: await _end(scenario, Schedule(0, budget=0)) for name, scenario in SCENARIOS.items()}
    injected: Counter[str] = Counter()
    wrong: list[str] = []
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(seed: int) -> None:
        name = list(SCENARIOS)[seed % len(SCENARIOS)]
        schedule = Schedule(seed, jump=JUMP)
        async with limit:
            outcome = await _end(SCENARIOS[name], schedule)
        injected.update(schedule.injected)
        wrong.extend(f"seed {seed} ({name}): {line}" for line in _differences(outcome, calm[name]))

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(one(seed))
    assert not wrong, "\n".join(wrong)
    return injected


async def test_random_faults() -> None:
    """Whatever goes wrong between operator and cluster, the same stands at the end, and each kind of fault was met."""
    injected = await _all(iter(range(30)))

    assert set(injected) == {
        "clock jump",
        "conflict",
        "error",
        "kill after",
        "kill before",
        "late change",
        "lost answer",
        "slow",
        "too many requests",
        "watch cut",
    }


@pytest.mark.slow
async def test_many_random_faults() -> None:
    """The same for two hundred other schedules."""
    await _all(iter(range(1000, 1200)))
