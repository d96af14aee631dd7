"""A namespace of a control plane with KServe in which BertJobs can serve, and an operator with played pods for it."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from support.cluster import install_crd
from support.embedding import SERVING
from support.fake_kubelet import FakeKubelet
from support.jobs import a_job
from support.operating import SETTINGS, together

from bertjob_api import names
from bertjob_api.cluster import Object
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.http import HttpCluster, connect
from bertjob_operator.shell.operator import run

MakeNamespace = Callable[[LocalCluster], str]


def place_for(cluster: LocalCluster, make_namespace: MakeNamespace) -> str:
    """Return a fresh namespace with our serving runtime, on a cluster that knows BertJobs."""
    install_crd(cluster)
    place = make_namespace(cluster)
    cluster.kubectl("apply", "--server-side", "-n", place, "-f", "-", stdin=json.dumps(_runtime()))
    return place


def _runtime() -> Object:
    container = {"name": "kserve-container", "image": "bertjob-predictor:test", "command": ["python"]}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": names.SERVING_RUNTIME},
        "spec": {
            "supportedModelFormats": [{"name": names.MODEL_FORMAT, "version": "1", "autoSelect": True}],
            "protocolVersions": ["v2"],
            "containers": [container],
        },
    }


def job_for(namespace: str, **serving: Any) -> Object:
    """Return a job with every stage; *serving* is merged into that part of its spec."""
    job = a_job(optimize={}, serving={**SERVING, **serving})
    job["metadata"]["namespace"] = namespace
    return job


@asynccontextmanager
async def operated(real: LocalCluster, namespace: str) -> AsyncIterator[tuple[HttpCluster, FakeKubelet]]:
    """Give a connection to *real* with an operator and a kubelet for one namespace running on it."""
    async with connect(real.layout.kubeconfig) as cluster:
        kubelet = FakeKubelet(cluster, namespace=namespace)
        async with together(kubelet.run(), run(cluster, replace(SETTINGS, namespace=namespace))):
            yield cluster, kubelet
