"""The operator may die before or after any single write: a fresh one brings the job to the same end."""

import asyncio
from typing import Any

import pytest
from support.operating import SETTINGS, together, until
from support.scenarios import JOB_OBJECT, SCENARIOS, begun, settled, world
from support.wrapped import Crash, Wrapped

from bertjob_operator.shell.operator import run


async def _crash_once(operator: Wrapped) -> None:
    """Run an operator until it crashes; one that ends its work without crashing runs on."""
    try:
        await run(operator, SETTINGS)
    except BaseExceptionGroup as group:
        if group.subgroup(Crash) is None:
            raise


async def _outcome(scenario: dict[str, Any], **crash: int) -> tuple[dict[str, Any], list[str]]:
    """Return the end of one run, and the writes of its first operator, which crashes as *crash* says."""
    cluster, kubelet = await begun(scenario)
    first = Wrapped(cluster, **crash)
    async with together(cluster.run(), kubelet.run()):
        await cluster.apply(JOB_OBJECT, manager="user")
        if crash:
            async with asyncio.timeout(30):
                await _crash_once(first)
        async with together(run(cluster if crash else first, SETTINGS)):
            job = await until(cluster, JOB_OBJECT, "Succeeded", "Failed")
            await settled(cluster)
        return await world(cluster, job, kubelet), first.writes


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("when", ["crash_before", "crash_after"])
async def test_any_crash_is_repaired(scenario: dict[str, Any], when: str) -> None:
    """Whatever write is the last of an operator, the next one ends the job alike, with no child twice or left over."""
    expected, writes = await _outcome(scenario)
    assert len(writes) > 10

    for index in range(len(writes)):
        outcome, done = await _outcome(scenario, **{when: index})

        for part, value in expected.items():
            assert outcome[part] == value, f"{part} after {when} of write {index} ({writes[index]}), done: {done}"
