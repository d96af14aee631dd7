"""
How soon the operator's own process acts: from the moment an event leaves the API server to the first write that arrives there.

The API server is one that answers at once, in the measuring process: what is left is TLS, HTTP and the operator.
"""

import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.reconcile.ceiling import CHILDREN, in_training
from support.benching import Row, row
from support.frozen import copies
from support.frozen_api import FrozenApi, operator, serving
from support.jobs import a_job

from bertjob_api.cluster import BERT_JOB, JOB, POD, Kind, Object, ref_of

RATE: Final = 50
"""New jobs in a second."""
EVENTS: Final = 500
SMALL: Final = 100
"""One-pod jobs beside the large one."""
PODS: Final = 10_000
Latencies = dict[str, float]


def rows() -> list[Row]:
    """Return a row for each figure."""
    objects = asyncio.run(in_training())
    quick = asyncio.run(_alone(objects))
    calm, busy = asyncio.run(_beside_a_large_one(objects))
    median, late = statistics.median(quick), _p99(quick)
    delay = _p99(busy) - statistics.median(calm)
    what = f"a {PODS}-pod job delays a 1-pod job, whose events come all the time (p99)"
    return [
        row("event-to-write-median", f"event to first write at {RATE} events/s, median", median, "ms", better="lower"),
        row("event-to-write", f"event to first write at {RATE} events/s, p99", late, "ms", better="lower", goal=10),
        row("large-job-delay", what, delay, "ms", better="lower", goal=50),
    ]


async def _alone(objects: list[Object]) -> list[float]:
    async with _operated({}) as api:
        return await _latencies(api, EVENTS, every=1 / RATE)


async def _beside_a_large_one(objects: list[Object]) -> tuple[list[float], list[float]]:
    """Return the latencies of small jobs while a large one is there, without and with events of its pods."""
    shown = large(objects, PODS)
    async with _operated(shown, turns=1) as api:
        calm = await _latencies(api, SMALL, every=0.05)
        noise = asyncio.create_task(_change(api, shown[POD]))
        busy = await _latencies(api, SMALL, every=0.05)
        noise.cancel()
        await asyncio.gather(noise, return_exceptions=True)
    return calm, busy


@asynccontextmanager
async def _operated(shown: dict[Kind, list[Object]], *, turns: int = 0) -> AsyncIterator[FrozenApi]:
    api = FrozenApi(lambda kind: shown.get(kind, ()))
    with tempfile.TemporaryDirectory() as folder:
        async with serving(api, Path(folder)) as env, operator(Path(folder), env, turns=turns):
            while not all(api.is_watched(kind) for kind in CHILDREN):  # noqa: ASYNC110  # another process does it
                await asyncio.sleep(0.1)
            yield api


async def _latencies(api: FrozenApi, count: int, *, every: float) -> list[float]:
    """Show *count* new one-pod jobs, one after *every* seconds, and return the milliseconds to the first write of each."""
    prefix, sent = f"new-{uuid.uuid4().hex[:6]}", dict[str, float]()
    first: Latencies = {}
    done = asyncio.Event()

    def written(_method: str, path: str) -> None:
        job = "-".join(path.rpartition("/")[2].split("-")[:3])
        if job in sent and job not in first:
            first[job] = (time.monotonic() - sent[job]) * 1000
            if len(first) == count:
                done.set()

    api.on_write = written
    start = time.monotonic()
    for index in range(count):
        await asyncio.sleep(max(0.0, start + index * every - time.monotonic()))
        name = f"{prefix}-{index}"
        metadata = {"name": name, "namespace": "default", "uid": str(uuid.uuid4()), "generation": 1}
        sent[name] = time.monotonic()
        await api.push(BERT_JOB, "ADDED", {**a_job(), "metadata": {**metadata, "resourceVersion": "2000000"}})
    async with asyncio.timeout(120):
        await done.wait()
    return list(first.values())


async def _change(api: FrozenApi, pods: list[Object]) -> None:
    """Show changes of *pods* for ever, twenty in a second: each makes the operator look at their job."""
    for number in range(len(pods)):
        pod = pods[number]
        metadata = {**pod["metadata"], "resourceVersion": str(2_000_001 + number)}
        await api.push(POD, "MODIFIED", {**pod, "metadata": metadata})
        await asyncio.sleep(0.05)


def large(objects: list[Object], pods: int) -> dict[Kind, list[Object]]:
    """Return one job in training with *pods* pods, by kind."""
    shown = {kind: list(copies(objects, kind, name="sentiment", count=1)) for kind in CHILDREN}
    for job in shown[BERT_JOB]:
        job["spec"]["training"]["replicas"] = pods
        job["status"] |= {"replicas": pods, "nodes": f"{pods}/{pods}"}
    train = next(each for each in shown[JOB] if "-train-" in each["metadata"]["name"])
    train["spec"] |= {"completions": pods, "parallelism": pods}
    workers = [each for each in shown[POD] if "-train-" in each["metadata"]["name"]]
    others = [each for each in shown[POD] if each not in workers]
    shown[POD] = [*others, *(_numbered(workers[0], index) for index in range(pods))]
    assert all(ref_of(each).kind == POD for each in shown[POD])
    return shown


def _numbered(pod: Object, index: int) -> Object:
    metadata = pod["metadata"]
    key = "batch.kubernetes.io/job-completion-index"
    own = {"name": f"{metadata['name']}-{index}", "uid": str(uuid.uuid4())}
    return {**pod, "metadata": {**metadata, **own, "annotations": {**metadata["annotations"], key: str(index)}}}


def _p99(values: list[float]) -> float:
    return sorted(values)[round(0.99 * (len(values) - 1))]
