"""
What a job costs the operator: throughput, writes, a resync, memory. ``make bench-operator``.

Everything is measured against clusters in memory, so no API server's time is in the figures: they are ceilings. Times are
CPU times of the one process, the cluster in memory included: what one core gives, whatever else the machine does.
"""

import asyncio
import importlib
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import aclosing
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from support.embedding import a_cluster
from support.fake_kubelet import End, FakeKubelet
from support.frozen import FrozenCluster, copies
from support.jobs import a_job
from support.operating import SETTINGS, together, until
from support.wrapped import Wrapped

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, CONFIG_MAP, JOB, NODE, POD, SERVICE, SERVICE_ACCOUNT, Object, Ref, ref_of
from bertjob_local.embedded import EmbeddedCluster, merge
from bertjob_local.embedded.lifecycle import stored
from bertjob_operator.runtime.controller import Reconciled
from bertjob_operator.shell.operator import Operator, run

OUT = Path(__file__).parents[2] / "build" / "bench" / "operator.json"
CREATED, RESYNCED, REMEMBERED, PODS = 1000, 10_000, 1000, 4
CHILDREN = (BERT_JOB, JOB, POD, SERVICE, CONFIG_MAP, SERVICE_ACCOUNT)
Row = dict[str, Any]


class LeanCluster(EmbeddedCluster):
    """Stores without validating, merging or copying: what is measured is the operator."""

    async def apply(self, obj: Object, *, manager: str) -> Object:  # noqa: ARG002
        """See ``Cluster.apply``; creates only."""
        ref = ref_of(obj)
        assert self.objects.get(ref) is None, f"{ref} is applied twice"
        return stored(self.objects, ref, obj)

    async def patch_status(self, ref: Ref, status: Mapping[str, Any], *, uid: str | None = None) -> Object:  # noqa: ARG002
        """See ``Cluster.patch_status``."""
        current = self.objects.get(ref)
        assert current is not None, f"{ref} is not there"
        return self.objects.put(ref, {**current, "status": merge.merge_patched(current.get("status"), status)})


async def _create(count: int) -> tuple[float, float, float]:
    """Return the CPU seconds until *count* new jobs have all their objects, and writes and lists of one job."""
    cluster = LeanCluster()
    counted = Wrapped(cluster)
    for index in range(count):
        await cluster.apply(_job(f"job-{index}"), manager="user")
    started = time.process_time()
    async with together(_pass_preflights(cluster), run(counted, SETTINGS)):
        await _all(cluster, count)
        seconds = time.process_time() - started
    return seconds, len(counted.writes) / count, counted.num_lists / count


def _job(name: str) -> Object:
    return {**a_job(training={"replicas": PODS}), "metadata": {"name": name, "namespace": "default"}}


async def _pass_preflights(cluster: EmbeddedCluster) -> None:
    """Let every preflight Job succeed at once."""
    done = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    async for change in cluster.changes(JOB, labels={names.COMPONENT_LABEL: names.PREFLIGHT}):
        if change.type == "Added":
            await cluster.patch_status(ref_of(change.object), {"conditions": [done]})


async def _all(cluster: EmbeddedCluster, count: int) -> None:
    """Wait until the status of *count* jobs tells of their training Job: it is the last object that is made."""
    known: set[str] = set()
    async with aclosing(cluster.changes(BERT_JOB)) as changes:  # type: ignore[type-var]
        async for change in changes:
            if (change.object.get("status") or {}).get("training") is not None:
                known.add(change.object["metadata"]["name"])
            if len(known) == count:
                return


async def _in_training() -> list[Object]:
    """Return a job in training and its children, as they stand when nothing more is to be written."""
    cluster = await a_cluster()
    kubelet = FakeKubelet(cluster, script={names.TRAIN: [End(holds=True)] * PODS})
    async with together(cluster.run(), kubelet.run(), run(cluster, SETTINGS)):
        await cluster.apply(_job("sentiment"), manager="user")
        await until(cluster, _job("sentiment"), "Training")
        async with aclosing(cluster.changes(BERT_JOB)) as changes:  # type: ignore[type-var]
            async for change in changes:
                if change.object.get("status", {}).get("nodes") == f"{PODS}/{PODS}":
                    break
    return [each for kind in CHILDREN for each in await cluster.list(kind)]


async def _look_at_all(frozen: FrozenCluster, count: int) -> float:
    """Return the CPU seconds of an operator that starts where *count* jobs stand, until it has looked at each."""
    turns, ended = 0, asyncio.Event()

    def observe(_: Reconciled) -> None:
        nonlocal turns
        turns += 1
        if turns == count:
            ended.set()

    started = time.process_time()
    async with together(Operator(frozen, SETTINGS, observer=observe).run()):
        await ended.wait()
    return time.process_time() - started


def _resync(objects: list[Object], count: int) -> tuple[float, int]:
    """Return CPU seconds and API calls of an operator that starts where *count* jobs are in training."""
    there = {kind: list(copies(objects, kind, name="sentiment", count=count)) for kind in (*CHILDREN, NODE)}
    frozen = FrozenCluster(there.__getitem__)
    return asyncio.run(_look_at_all(frozen, count)), frozen.asked.total()


def _remember(objects: list[Object], count: int, answers: "Queue[float]") -> None:
    """Answer with the MiB of a process before its caches hold *count* jobs, and then."""
    importlib.import_module("bertjob_operator.__main__")  # all that the operator's process loads
    answers.put(_resident_mib())
    frozen = FrozenCluster(lambda kind: copies(objects, kind, name="sentiment", count=count))
    asyncio.run(_look_at_all(frozen, count))
    answers.put(_resident_mib())


def _resident_mib() -> float:
    """Return the resident memory of this process."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def _memory(objects: list[Object], count: int) -> tuple[float, float]:
    """Return the MiB of an operator's process without jobs and with *count* of them."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_remember, args=(objects, count, answers))
    child.start()
    empty, full = answers.get(timeout=300), answers.get(timeout=300)
    child.join()
    return empty, full


def measured() -> list[Row]:
    """Return a row for each figure."""
    _, alone, _ = asyncio.run(_create(1))
    seconds, writes, lists = asyncio.run(_create(CREATED))
    objects = asyncio.run(_in_training())
    resync, calls = _resync(objects, RESYNCED)
    empty, full = _memory(objects, REMEMBERED)
    return [
        _row("jobs-per-second", f"{CREATED} new jobs to all objects", CREATED / seconds, "jobs/s", "higher", 100),
        _row("writes", f"writes of a job until training, {CREATED} at once", writes, "writes", "lower", alone),
        _row("lists", f"lists of a job until training, {CREATED} at once", lists, "lists", "lower", 0),
        _row("resync-calls", f"API calls when {RESYNCED} jobs are looked at again", calls, "calls", "lower", 0),
        _row("resync-time", f"time to look at {RESYNCED} jobs again", resync, "s", "lower", None),
        _row("memory-empty", "resident memory without jobs", empty, "MiB", "lower", None),
        _row("memory", f"resident memory, {REMEMBERED} jobs with {PODS} pods each", full, "MiB", "lower", 100),
    ]


def _row(name: str, what: str, value: float, unit: str, better: str, goal: float | None) -> Row:
    return {
        "id": name,
        "what": what,
        "value": value,
        "unit": unit,
        "better": better,
        "goal": goal,
        "peers": {},
        "roof": None,
    }


def main() -> None:
    """Measure, print a table and write it as JSON."""
    rows = measured()
    for row in rows:
        goal = "" if row["goal"] is None else f"   (goal {row['goal']:g})"
        sys.stdout.write(f"{row['what']:60} {row['value']:10.4g} {row['unit']}{goal}\n")
    machine = {"cpus": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
