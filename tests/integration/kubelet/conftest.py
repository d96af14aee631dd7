"""An embedded cluster with a process kubelet, and shorthands to run small programs in it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bertjob_api.cluster import JOB, NODE, POD, Kind, Object
from bertjob_local import embedded, kubelet

MANAGER = "test"
NODES = ("node-0", "node-1")


class Lab:
    """A running cluster and what tests do with it."""

    def __init__(self, folder: Path, settings: kubelet.Settings) -> None:
        self.cluster = embedded.EmbeddedCluster(
            embedded.Settings(job_backoff=timedelta(milliseconds=50), node_grace=timedelta(seconds=2))
        )
        self.kubelet = kubelet.Kubelet(self.cluster, NODES, folder, settings=settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Lab"]:
        """Run controllers and kubelet; a failure of either fails the test."""
        tasks = [asyncio.create_task(self.cluster.run()), asyncio.create_task(self.kubelet.run())]
        try:
            yield self
            for task in tasks:
                assert not task.done(), f"ended early: {task}"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def apply(self, *objects: Object) -> None:
        """Apply all *objects*."""
        for obj in objects:
            await self.cluster.apply(obj, manager=MANAGER)

    async def one(self, kind: Kind, name: str) -> Object | None:
        """Return an object, or None."""
        return next(iter(await self.cluster.list(kind, namespace="default", name=name)), None)

    async def pods(self) -> list[Object]:
        """Return all pods."""
        return await self.cluster.list(POD)

    async def until(self, holds: Callable[[], Any], *, timeout_s: float = 30.0) -> Any:
        """Return the first true answer of the coroutine function *holds*."""
        deadline = time.monotonic() + timeout_s
        while not (answer := await holds()):
            assert time.monotonic() < deadline, f"{holds.__name__}: not within {timeout_s} s; {await self._all()}"
            await asyncio.sleep(0.02)
        return answer

    async def until_phase(self, name: str, phase: str) -> Object:
        """Return the pod once it is in *phase*."""

        async def in_phase() -> Object | None:
            pod = await self.one(POD, name)
            return pod if pod and pod.get("status", {}).get("phase") == phase else None

        return await self.until(in_phase)

    async def until_condition(self, kind: Kind, name: str, condition: str) -> Object:
        """Return the object once *condition* is True."""

        async def has_condition() -> Object | None:
            obj = await self.one(kind, name)
            return obj if obj is not None and is_true(obj, condition) else None

        return await self.until(has_condition)

    def log(self, pod: Object, container: str = "main") -> str:
        """Return what a container has written."""
        metadata = pod["metadata"]
        folder = self.kubelet.pods_folder() / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
        return (folder / f"{container}.log").read_text()

    async def _all(self) -> list[Object]:
        return [obj.get("status", {}) for kind in (JOB, POD, NODE) for obj in await self.cluster.list(kind)]


def is_true(obj: Object, condition: str) -> bool:
    """Return whether a condition is True."""
    conditions = obj.get("status", {}).get("conditions", ())
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Two nodes, quick to retry."""
    settings = kubelet.Settings(
        crash_backoff=timedelta(milliseconds=50),
        retry=timedelta(milliseconds=50),
        heartbeat=timedelta(seconds=1),
        shutdown_grace=timedelta(milliseconds=200),
    )
    async with Lab(tmp_path, settings).running() as running:
        yield running


@pytest.fixture
def a_pod() -> Callable[..., Object]:
    """Give a builder of pods that run one Python program; keyword arguments go into the container."""
    return build_pod


@pytest.fixture
def an_indexed_job() -> Callable[..., Object]:
    """Give a builder of Indexed Jobs whose pods run one Python program; keyword arguments go into the Job's spec."""
    return build_job


def build_pod(name: str, program: str, *arguments: str, spec: Object | None = None, **container: Any) -> Object:
    """Return a pod."""
    main = {"name": "main", "command": ["python", "-u", "-c", program, *arguments], **container}
    body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **(spec or {}), "containers": [main]}
    metadata = {"name": name, "namespace": "default", "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def build_job(name: str, program: str, *, count: int = 2, **spec: Any) -> Object:
    """Return an Indexed Job."""
    template = {"spec": build_pod(name, program)["spec"]}
    body = {"completionMode": "Indexed", "completions": count, "parallelism": count, **spec, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"}, "spec": body}
