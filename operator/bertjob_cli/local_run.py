"""One BertJob without a cluster: embedded cluster, process kubelet and the operator in this process."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bertjob_api import conditions
from bertjob_api.cluster import BERT_JOB, Object, Ref
from bertjob_api.job import BertJob
from bertjob_cli import placing
from bertjob_local.embedded import EmbeddedCluster
from bertjob_local.kubelet import Kubelet
from bertjob_operator.shell import operator
from bertjob_operator.shell.settings import Settings

FIELD_MANAGER = "bertjob-cli"
PROGRESS_INTERVAL = timedelta(seconds=1)
"""A person watches, and the pods are on this machine."""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A job that runs in this process."""

    cluster: EmbeddedCluster
    kubelet: Kubelet
    ref: Ref

    async def changes(self) -> AsyncIterator[Object]:
        """Yield the job now and after each change, for ever."""
        async for change in self.cluster.changes(BERT_JOB, namespace=self.ref.namespace):
            if change.type in ("Added", "Modified"):
                yield change.object


@asynccontextmanager
async def started(value: Object, job: BertJob, *, state: Path) -> AsyncIterator[LocalRun]:
    """
    Start *value* and give the run; everything it started has ended when the block is left.

    Args:
        value: the BertJob object.
        job: the same, parsed.
        state: folder for the pods' files and logs.

    """
    cluster = EmbeddedCluster()
    kubelet = Kubelet(cluster, [f"node-{number}" for number in range(placing.num_nodes(job))], state)
    settings = Settings(progress_interval=PROGRESS_INTERVAL)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (cluster.run(), kubelet.run(), operator.run(cluster, settings))]
        try:
            secret = placing.storage_secret(job, os.environ)
            for obj in [value] if secret is None else [secret, value]:
                await cluster.apply(_namespaced(obj, job.namespace), manager=FIELD_MANAGER)
            yield LocalRun(cluster, kubelet, Ref(BERT_JOB, job.namespace, job.name))
        finally:
            for task in tasks:
                task.cancel()


def outcome(value: Object) -> str | None:
    """Return "Succeeded" or "Failed" when the job has ended, else None."""
    found = {item["type"]: item["status"] for item in value.get("status", {}).get("conditions", ())}
    return next((kind for kind in (conditions.SUCCEEDED, conditions.FAILED) if found.get(kind) == "True"), None)


def _namespaced(value: Object, namespace: str) -> Object:
    return {**value, "metadata": {"namespace": namespace, **value["metadata"]}}
