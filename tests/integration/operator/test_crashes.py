"""The operator may die before or after any single write: a fresh one brings the job to the same end."""

import asyncio
import json
import re
from typing import Any

import pytest
from support.embedding import SERVING, a_cluster, a_service
from support.fake_kubelet import EVALUATION, SERVED, FakeKubelet, fails
from support.jobs import a_job
from support.operating import SETTINGS, gone, together, until
from support.wrapped import Crash, Wrapped

from bertjob_api import names
from bertjob_api.cluster import CONFIG_MAP, EVENT, INFERENCE_SERVICE, JOB, KINDS, POD, SERVICE, Object
from bertjob_local.embedded import EmbeddedCluster
from bertjob_operator.shell.operator import run

JOB_OBJECT = a_job(training={"replicas": 2}, optimize={}, gate={}, serving=SERVING)

SCENARIOS: dict[str, dict[str, Any]] = {
    "new service": {},
    "live service": {"service": True},
    "rollback": {"service": True, "failing": {SERVED.uri}},
    "gate refuses": {
        "service": True,
        "script": {names.OPTIMIZE: [fails(42, "GateFailed", "no", evaluation=EVALUATION)]},
    },
    "a pod fails": {"script": {names.TRAIN: [fails(75, "StorageUnreachable", "timed out")]}},
}


async def _crash_once(operator: Wrapped) -> None:
    """Run an operator until it crashes; one that ends its work without crashing runs on."""
    try:
        await run(operator, SETTINGS)
    except BaseExceptionGroup as group:
        if group.subgroup(Crash) is None:
            raise


async def _outcome(scenario: dict[str, Any], **crash: int) -> tuple[dict[str, Any], list[str]]:
    """Return the end of one run, and the writes of its first operator, which crashes as *crash* says."""
    cluster = await a_cluster()
    script = {key: list(ends) for key, ends in scenario.get("script", {}).items()}
    kubelet = FakeKubelet(cluster, script=script, failing_uris=set(scenario.get("failing", ())))
    if scenario.get("service"):
        await cluster.apply(a_service(), manager="owner")
    first = Wrapped(cluster, **crash)
    async with together(cluster.run(), kubelet.run()):
        await cluster.apply(JOB_OBJECT, manager="user")
        if crash:
            async with asyncio.timeout(30):
                await _crash_once(first)
            async with together(run(cluster, SETTINGS)):
                job = await until(cluster, JOB_OBJECT, "Succeeded", "Failed")
                await _settled(cluster)
        else:
            async with together(run(first, SETTINGS)):
                job = await until(cluster, JOB_OBJECT, "Succeeded", "Failed")
                await _settled(cluster)
        return {
            **await _world(cluster),
            "started": dict(kubelet.started),
            "status": _timeless(job["status"]),
        }, first.writes


async def _settled(cluster: EmbeddedCluster) -> None:
    """Wait until the store of the ended job is gone: the last thing that an operator does."""
    async with asyncio.timeout(10):
        await gone(cluster, SERVICE, names.store_name("sentiment"))
        await gone(cluster, POD, names.store_name("sentiment"))


async def _world(cluster: EmbeddedCluster) -> dict[str, Any]:
    """Return everything that stands, without random names and times; events may be fewer after a crash."""
    kinds = [kind for kind in KINDS if kind != EVENT]
    found = [f"{kind.kind} {_plain(each)}" for kind in kinds for each in await cluster.list(kind)]
    services = await cluster.list(INFERENCE_SERVICE)
    history = await cluster.list(CONFIG_MAP, name=names.history_name("docs"))
    return {
        "objects": sorted(found),
        "uris": [each["spec"]["predictor"]["model"]["storageUri"] for each in services],
        "history": _timeless([each["data"] for each in history]),
        "suspended": [each["spec"].get("suspend") for each in await cluster.list(JOB)],
    }


def _plain(value: Object) -> str:
    """Return the name without the random part of pods."""
    name = value["metadata"]["name"]
    return re.sub(r"-[a-z0-9]{5}$", "", name) if value["kind"] == "Pod" else str(name)


def _timeless(value: Any) -> Any:
    """Return *value* without times, uids and the random parts of names."""
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key != "uid"}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")):
        return _timeless(json.loads(value))
    value = re.sub(r"^node-[ab]$", "NODE", value)
    value = re.sub(r"127(\.\d+){3}", "ADDRESS", value)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", value)
    return re.sub(r"(sentiment-\w+(-\d)+|docs-predictor-\w+)-[a-z0-9]{5}\b", r"\1", text)


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
