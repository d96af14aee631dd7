"""The writer of a pod's status."""

import asyncio
from datetime import timedelta

import pytest

from bertjob_api.cluster import POD, Object, Ref, UnavailableError
from bertjob_local.embedded import EmbeddedCluster
from bertjob_local.kubelet.reporter import Reporter

REF = Ref(POD, "default", "p")


async def a_reporter(cluster, current, *, uid="u") -> tuple[Reporter, "asyncio.Task[None]"]:
    reporter = Reporter(cluster, REF, uid, current=current, retry=timedelta(milliseconds=10))
    return reporter, asyncio.create_task(reporter.run())


async def a_pod(cluster) -> Object:
    metadata = {"name": "p", "namespace": "default"}
    return await cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}, manager="m")


class Faulty(EmbeddedCluster):
    """Does not answer the first status writes, as an API server that restarts."""

    silences = 3

    async def patch_status(self, ref, status, *, uid=None):
        """Fail, then work."""
        if self.silences:
            self.silences -= 1
            raise UnavailableError("no answer")
        return await super().patch_status(ref, status, uid=uid)


@pytest.mark.timeout(20)
async def test_newest_status_is_written_and_equal_ones_are_not():
    """Many changes at once make one write, and none when nothing differs."""
    cluster = EmbeddedCluster()
    pod = await a_pod(cluster)
    status = {"phase": "Pending"}
    reporter, task = await a_reporter(cluster, lambda: dict(status), uid=pod["metadata"]["uid"])
    versions = set()
    for phase in ("Pending", "Running", "Running"):
        status["phase"] = phase
        reporter.changed()
        reporter.changed()
        await reporter.flushed()
        [found] = await cluster.list(POD)
        assert found["status"]["phase"] == phase
        versions.add(found["metadata"]["resourceVersion"])
    task.cancel()

    assert len(versions) == 2


@pytest.mark.timeout(20)
async def test_unanswered_write_is_repeated():
    """A status reaches the cluster once it answers again."""
    cluster = Faulty()
    pod = await a_pod(cluster)
    reporter, task = await a_reporter(cluster, lambda: {"phase": "Running"}, uid=pod["metadata"]["uid"])

    reporter.changed()
    await reporter.flushed()
    task.cancel()

    assert (await cluster.list(POD))[0]["status"]["phase"] == "Running"


@pytest.mark.timeout(20)
async def test_nobody_waits_for_a_pod_that_is_gone():
    """When the pod is gone or another one has its name, nothing is written and flushing returns, now and later."""
    cluster = EmbeddedCluster()
    await a_pod(cluster)
    reporter, task = await a_reporter(cluster, lambda: {"phase": "Running"}, uid="another")

    for _ in range(2):
        reporter.changed()
        await reporter.flushed()
    await task

    assert "status" not in (await cluster.list(POD))[0]
