"""
Throughput, writes and a resync against clusters in memory: no API server's time is in these figures, they are ceilings.

Times are CPU times of the one process, the cluster in memory included: what one core gives, whatever else the machine does.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from support.benching import Row, row
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

CREATED, RESYNCED, PODS = 1000, 10_000, 4
CHILDREN = (BERT_JOB, JOB, POD, SERVICE, CONFIG_MAP, SERVICE_ACCOUNT)


class LeanCluster(EmbeddedCluster):
    """Stores without validating, merging or copying: what is measured is the operator."""

    async def apply(self, obj: Object, *, manager: str) -> Object:  # noqa: ARG002
        """See ``Cluster.apply``; creates only."""
        ref = ref_of(obj)
        assert self.objects.get(ref) is None, f"{ref} is applied twice"
        return stored(self.objects, ref, obj)

    async def patch_status(self, ref: Ref, status: Mapping[str, Any], *, uid: str | None = None, **more: Any) -> Object:  # noqa: ARG002
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


async def in_training() -> list[Object]:
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


def rows() -> list[Row]:
    """Return a row for each figure."""
    _, alone, _ = asyncio.run(_create(1))
    seconds, writes, lists = asyncio.run(_create(CREATED))
    resync, calls = _resync(asyncio.run(in_training()), RESYNCED)
    many = f"of a job until training, {CREATED} at once"
    return [
        row(
            "jobs-per-second",
            f"{CREATED} new jobs to all objects, per CPU second",
            CREATED / seconds,
            "jobs/s",
            goal=100,
        ),
        row("writes", f"writes {many} (goal: of one alone)", writes, "writes", better="lower", goal=alone),
        row("lists", f"lists {many}", lists, "lists", better="lower", goal=0),
        row(
            "resync-calls",
            f"API calls when {RESYNCED} jobs are looked at again",
            calls,
            "calls",
            better="lower",
            goal=0,
        ),
        row("resync-time", f"CPU time to look at {RESYNCED} jobs again", resync, "s", better="lower"),
    ]
