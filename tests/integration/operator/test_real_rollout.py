"""Rollouts on the real KServe manager: created, replaced, proven, and taken back; pods are played by a fake kubelet."""

import asyncio
from dataclasses import replace

import pytest
from support import counting
from support.embedding import OLD_URI, a_service
from support.fake_kubelet import SERVED, FakeKubelet
from support.operating import SETTINGS, condition, found, none_left, together, until
from support.serving_runtime import MakeNamespace, job_for, operated, place_for

from bertjob_api import names
from bertjob_api.cluster import CONFIG_MAP, DEPLOYMENT, INFERENCE_SERVICE, POD, SERVICE
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.calls import Selection
from bertjob_operator.runtime.http import HttpCluster, connect

pytestmark = pytest.mark.cluster


@pytest.fixture
def namespace(control_plane: LocalCluster, make_namespace: MakeNamespace) -> str:
    """Return a fresh namespace with our serving runtime."""
    return place_for(control_plane, make_namespace)


async def _live(cluster: HttpCluster, namespace: str) -> None:
    """Make a service with the old model, and wait until it serves."""
    wanted = a_service()
    wanted["metadata"]["namespace"] = namespace
    wanted["metadata"]["annotations"] = {
        names.KSERVE_MODE_ANNOTATION: "Standard",
        names.KSERVE_AUTOSCALER_ANNOTATION: "none",
    }
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    wanted["spec"]["predictor"]["deploymentStrategy"] = strategy
    await cluster.apply(wanted, manager="owner")
    await found(
        cluster,
        DEPLOYMENT,
        lambda each: (
            each["metadata"]["namespace"] == namespace and each.get("status", {}).get("availableReplicas", 0) == 2
        ),
    )


async def test_new_service(control_plane: LocalCluster, namespace: str) -> None:
    """A service that is absent is created in Standard mode, and the job succeeds when its pods serve the artifact."""
    wanted = job_for(namespace)
    async with operated(control_plane, namespace) as (cluster, kubelet):
        await cluster.apply(wanted, manager="user")
        job = await until(cluster, wanted, "Succeeded", "Failed")
        [deployment] = await cluster.list(DEPLOYMENT, namespace=namespace)

    assert condition(job, "RolledOut")["status"] == "True", job["status"]
    assert job["status"]["rollout"]["trafficPercent"] == 100
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations[names.KSERVE_SOURCE_ANNOTATION] == SERVED.uri
    assert kubelet.started["predictor"] == 2


async def test_requests_of_a_rollout(
    control_plane: LocalCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From creation to serving a job costs the writes that its plans need; only what KServe has and makes is read."""
    wanted, settings = job_for(namespace), replace(SETTINGS, namespace=namespace)
    with counting.turns(monkeypatch) as turns, counting.requests() as asked:
        async with connect(control_plane.layout.kubeconfig) as cluster:
            kubelet = FakeKubelet(cluster, namespace=namespace)
            async with together(kubelet.run(), counting.operating(cluster, settings)):
                await cluster.apply(wanted, manager="user")
                await until(cluster, wanted, "Succeeded", "Failed")
                async with asyncio.timeout(30):
                    await none_left(cluster, SERVICE, namespace=namespace, labels={names.JOB_LABEL: "sentiment"})

    kinds = (INFERENCE_SERVICE, DEPLOYMENT, CONFIG_MAP, POD)
    assert counting.grouped(asked.writes) == counting.needed(turns)
    assert set(asked.reads) <= {f"list {Selection(kind=kind, namespace=namespace)}" for kind in kinds}


async def test_live_service_is_rolled(control_plane: LocalCluster, namespace: str) -> None:
    """The new model replaces the old one without a moment of fewer ready pods, and nothing else of the service changes."""
    wanted = job_for(namespace)
    async with operated(control_plane, namespace) as (cluster, _):
        await _live(cluster, namespace)
        [before] = await cluster.list(INFERENCE_SERVICE, namespace=namespace)
        await cluster.apply(wanted, manager="user")
        job = await until(cluster, wanted, "Succeeded", "Failed")
        [after] = await cluster.list(INFERENCE_SERVICE, namespace=namespace)

    assert condition(job, "Succeeded")["status"] == "True", job["status"]
    assert [entry["uri"] for entry in job["status"]["history"]] == [SERVED.uri]
    assert after["spec"]["predictor"]["model"].pop("storageUri") == SERVED.uri
    assert before["spec"]["predictor"]["model"].pop("storageUri") == OLD_URI
    assert after["spec"] == before["spec"]
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]


@pytest.mark.parametrize("deadline", ["10m", "5s"])
async def test_bad_model_is_taken_back(control_plane: LocalCluster, namespace: str, deadline: str) -> None:
    """A model whose pods crash, or do not get ready in time, is taken back while the old pods go on."""
    wanted = job_for(namespace, progressDeadline=deadline)
    async with operated(control_plane, namespace) as (cluster, kubelet):
        kubelet.crashes = 5 if deadline == "10m" else 0
        await _live(cluster, namespace)
        kubelet.failing_uris.add(SERVED.uri)
        await cluster.apply(wanted, manager="user")
        job = await until(cluster, wanted, "Failed", "Succeeded")
        [service] = await cluster.list(INFERENCE_SERVICE, namespace=namespace)
        [deployment] = await cluster.list(DEPLOYMENT, namespace=namespace)

    assert condition(job, "Failed")["reason"] == "RolloutFailed", job["status"]
    assert service["spec"]["predictor"]["model"]["storageUri"] == OLD_URI
    assert deployment["status"]["availableReplicas"] == 2
    assert condition(job, "Failed")["message"].endswith(f"{OLD_URI} is served again")
