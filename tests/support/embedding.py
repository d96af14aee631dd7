"""An embedded cluster with an operator and a fake kubelet, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from support.fake_kubelet import FakeKubelet, add_node
from support.operating import SETTINGS, together

from bertjob_api.cluster import INFERENCE_SERVICE, Object
from bertjob_local.embedded import EmbeddedCluster, Settings
from bertjob_operator.shell.operator import run

FAST = Settings(job_backoff=timedelta(milliseconds=5), node_grace=timedelta(hours=1))
SERVING = {"inferenceService": "docs", "replicas": {"min": 2, "max": 2}}
OLD_URI = "s3://bucket/old/" + "0" * 64


async def a_cluster() -> EmbeddedCluster:
    """Return a cluster with two nodes; its controllers do not run yet."""
    cluster = EmbeddedCluster(FAST)
    for name in ("node-a", "node-b"):
        await add_node(cluster, name)
    return cluster


def a_service(uri: str = OLD_URI) -> Object:
    """Return an InferenceService that a user made."""
    model = {"modelFormat": {"name": "bertjob"}, "runtime": "bertjob-predictor", "storageUri": uri}
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {"name": "docs", "namespace": "default", "labels": {"team": "search"}},
        "spec": {"predictor": {"minReplicas": 2, "maxReplicas": 2, "model": model}},
    }


@asynccontextmanager
async def operated(**kubelet: Any) -> AsyncIterator[tuple[EmbeddedCluster, FakeKubelet]]:
    """Give a cluster on which the operator and a fake kubelet run."""
    cluster = await a_cluster()
    fake = FakeKubelet(cluster, **kubelet)
    async with together(cluster.run(), fake.run(), run(cluster, SETTINGS)):
        yield cluster, fake
