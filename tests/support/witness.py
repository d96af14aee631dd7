"""Who watches a job under faults: what must never happen, and how two ends differ."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from support.faults import FaultyCluster, Schedule
from support.operating import watching
from support.wrapped import Crash

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, JOB, Cluster, Object
from bertjob_operator.shell.operator import Operator
from bertjob_operator.shell.settings import Settings

FINAL = ("Accepted", "Trained", "Optimized", "GatePassed", "RolledOut", "Succeeded", "Failed")
"""Conditions that never go back once they are True."""


class Witness:
    """Sees every version of the job of a namespace and of its training Jobs, and collects what must not happen."""

    def __init__(self, cluster: Cluster, *, namespace: str | None = None) -> None:
        self.complaints: list[str] = []
        self._cluster = cluster
        self._namespace = namespace
        self._active: dict[str, bool] = {}
        self._stood: defaultdict[str, str] = defaultdict(str)

    async def watch_status(self) -> None:
        """Complain when a verdict, an artifact or the attempt goes back."""
        attempt, artifacts = 0, set[str]()
        async with watching(self._cluster, BERT_JOB, namespace=self._namespace) as changes:
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
        labels = {names.COMPONENT_LABEL: names.TRAIN}
        async with watching(self._cluster, JOB, namespace=self._namespace, labels=labels) as changes:
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


async def operated(cluster: Cluster, schedule: Schedule, settings: Settings) -> None:
    """Run operators, a new one whenever one is killed."""
    while True:
        operator = asyncio.create_task(Operator(FaultyCluster(cluster, schedule), settings, clock=schedule.now).run())
        try:
            await asyncio.wait({operator})
        finally:
            operator.cancel()
            await asyncio.gather(operator, return_exceptions=True)
        end = operator.exception()
        if not isinstance(end, BaseExceptionGroup) or end.subgroup(Crash) is None:
            raise AssertionError(f"the operator ended by itself: {end!r}")


def differences(got: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Yield what differs, a line for each place."""
    if isinstance(got, dict) and isinstance(expected, dict):
        for key in sorted(got.keys() | expected.keys()):
            yield from differences(got.get(key), expected.get(key), f"{path}.{key}")
    elif got != expected:
        yield f"{path[1:]}: got {got}, expected {expected}"
