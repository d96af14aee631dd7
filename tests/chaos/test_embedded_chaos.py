"""
Random faults between operator and cluster: every job ends as it does on a calm day, and its status never wavers.

Faults: the operator killed, watches cut, 409, 429, 500, answers lost or slow, caches late, the clock jumping.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.faults import Schedule
from support.operating import SETTINGS, together, until
from support.scenarios import JOB_OBJECT, SCENARIOS, begun, settled, world
from support.witness import Witness, differences, operated

from bertjob_api.cluster import BERT_JOB

AT_ONCE = 10
"""Schedules that run beside each other; most of their time is waiting."""
JUMP = timedelta(minutes=5)
"""Longest jump of the operator's clock, either way."""


async def _end(scenario: dict[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Return what is left at the end of one run."""
    cluster, kubelet = await begun(scenario)
    witness = Witness(cluster)
    observers = (witness.watch_status(), witness.watch_jobs())
    async with together(cluster.run(), kubelet.run(), *observers, operated(cluster, schedule, SETTINGS)):
        await cluster.apply(JOB_OBJECT, manager="user")
        job = await until(cluster, JOB_OBJECT, "Succeeded", "Failed")
        await settled(cluster)
        [job] = await cluster.list(BERT_JOB)
        return {**await world(cluster, job, kubelet), "complaints": witness.complaints}


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
        wrong.extend(f"seed {seed} ({name}): {line}" for line in differences(outcome, calm[name]))

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
