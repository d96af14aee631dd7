"""What jobs cost a real API server: how many get all their objects in a second, and every request that they cause."""

import asyncio
import os
import tempfile
import time
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.reconcile.ceiling import PODS
from support import counting
from support.benching import Row, row
from support.cluster import install_crd
from support.jobs import a_job
from support.operating import SETTINGS, together

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, JOB, Cluster, Object, ref_of
from bertjob_local.parts import API_ONLY, LocalCluster, Settings
from bertjob_operator.runtime.http import connect

JOBS: Final = 200


def rows() -> list[Row]:
    """Return a row for each figure."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = LocalCluster.up(Path(folder), Settings(parts=API_ONLY, owner_pid=os.getpid()))
        try:
            install_crd(cluster)
            kubeconfig = Path(cluster.env()["KUBECONFIG"])
            _, alone = asyncio.run(_create(kubeconfig, 1, prefix="alone"))
            seconds, requests = asyncio.run(_create(kubeconfig, JOBS, prefix="many"))
        finally:
            cluster.down(delete=True)
    many = f"of a job until training, {JOBS} at once"
    speed, writes = JOBS / seconds, requests.writes.total() / JOBS
    return [
        row("real-jobs-per-second", f"{JOBS} new jobs to all objects on a real API server", speed, "jobs/s"),
        row(
            "real-writes",
            f"writes {many} (goal: of one alone)",
            writes,
            "writes",
            better="lower",
            goal=alone.writes.total(),
        ),
        row(
            "real-reads",
            f"reads beside list and watch {many}",
            requests.reads.total() / JOBS,
            "reads",
            better="lower",
            goal=0,
        ),
    ]


async def _create(kubeconfig: Path, count: int, *, prefix: str) -> tuple[float, counting.Requests]:
    """Return the seconds until *count* new jobs have all their objects, and what the operator asked for meanwhile."""
    async with connect(kubeconfig) as user, connect(kubeconfig) as operated:
        for index in range(count):
            job = {
                **a_job(training={"replicas": PODS}),
                "metadata": {"name": f"{prefix}-{index}", "namespace": "default"},
            }
            await user.apply(job, manager="user")
        with counting.requests() as asked:
            started = time.monotonic()
            async with together(_pass_preflights(user), counting.operating(operated, SETTINGS)):
                await _all(user, prefix, count)
                seconds = time.monotonic() - started
    return seconds, asked


async def _pass_preflights(cluster: Cluster) -> None:
    """Let every preflight Job succeed at once."""
    async for change in cluster.changes(JOB, labels={names.COMPONENT_LABEL: names.PREFLIGHT}):
        if change.type == "Added" and not (change.object.get("status") or {}).get("conditions"):
            await cluster.patch_status(ref_of(change.object), _passed())


def _passed() -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    holds = {
        "status": "True",
        "lastTransitionTime": now,
        "lastProbeTime": now,
        "reason": "CompletionsReached",
        "message": "",
    }
    conditions = [{"type": kind, **holds} for kind in ("SuccessCriteriaMet", "Complete")]
    times = {"startTime": now, "completionTime": now}
    return {**times, "succeeded": 1, "completedIndexes": "0", "terminating": 0, "ready": 0, "conditions": conditions}


async def _all(cluster: Cluster, prefix: str, count: int) -> None:
    """Wait until the status of *count* jobs tells of their training Job: it is the last object that is made."""
    known: set[str] = set()
    async with aclosing(cluster.changes(BERT_JOB)) as changes:  # type: ignore[type-var]
        async for change in changes:
            metadata = change.object.get("metadata") or {}
            if (
                metadata.get("name", "").startswith(prefix)
                and change.object.get("status", {}).get("training") is not None
            ):
                known.add(metadata["name"])
            if len(known) == count:
                return
