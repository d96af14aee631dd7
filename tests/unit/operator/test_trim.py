"""What caches keep of pods and nodes is all that a plan reads."""

from typing import Any

from support.embedding import a_cluster
from support.fake_kubelet import FakeKubelet, fails
from support.jobs import a_job
from support.operating import SETTINGS, together, until

from bertjob_api import names
from bertjob_api.cluster import NODE, POD
from bertjob_operator.plan import reading
from bertjob_operator.shell.operator import run
from bertjob_operator.shell.trim import trimmed


async def test_nothing_that_is_read_is_lost() -> None:
    """Pods that run, failed and succeeded read alike with and without what is left out, and take less room."""
    cluster = await a_cluster()
    kubelet = FakeKubelet(cluster, script={names.TRAIN: [fails(75, "StorageUnreachable", "timed out")]})
    pods: dict[tuple[str, str], dict[str, Any]] = {}

    async def keep() -> None:
        async for change in cluster.changes(POD):
            if change.type != "Synced":
                metadata = change.object["metadata"]
                pods[metadata["uid"], metadata["resourceVersion"]] = change.object

    async with together(keep(), cluster.run(), kubelet.run(), run(cluster, SETTINGS)):
        await cluster.apply(a_job(training={"replicas": 2}), manager="user")
        await until(cluster, a_job(), "Succeeded")

    assert {pod["status"].get("phase") for pod in pods.values() if "status" in pod} >= {
        "Running",
        "Failed",
        "Succeeded",
    }
    for pod in pods.values():
        assert reading.pod(trimmed(pod)) == reading.pod(pod)
        assert "containers" not in trimmed(pod)["spec"]


def test_node_keeps_its_conditions() -> None:
    """Whether a node is Ready is kept; its images, which can be hundreds, are not."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-05-04T11:00:00Z"}
    node = {
        "apiVersion": "v1",
        "kind": NODE.kind,
        "metadata": {"name": "a", "uid": "u", "managedFields": []},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"conditions": [ready], "images": [{"names": ["x"]}]},
    }

    assert trimmed(node) == {
        "apiVersion": "v1",
        "kind": NODE.kind,
        "metadata": {"name": "a", "uid": "u"},
        "spec": {},
        "status": {"conditions": [ready]},
    }
