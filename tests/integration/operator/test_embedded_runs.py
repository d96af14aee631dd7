"""The operator brings jobs to their end on the embedded cluster, with pods that a fake kubelet ends."""

from datetime import timedelta

from support.fake_kubelet import EVALUATION, MODEL, SERVED, FakeKubelet, add_node
from support.jobs import a_job
from support.operating import SETTINGS, condition, together, until

from bertjob_api import names
from bertjob_api.cluster import INFERENCE_SERVICE
from bertjob_api.parse import dump
from bertjob_local.embedded import EmbeddedCluster, Settings
from bertjob_operator.shell.operator import run

FAST = Settings(job_backoff=timedelta(milliseconds=10), node_grace=timedelta(hours=1))

SERVING = {"inferenceService": "docs", "replicas": {"min": 2, "max": 2}}


async def _cluster() -> EmbeddedCluster:
    cluster = EmbeddedCluster(FAST)
    for name in ("node-a", "node-b"):
        await add_node(cluster, name)
    return cluster


async def test_whole_way() -> None:
    """A job with every stage ends Succeeded: trained, optimized, served, proven, and recorded in the history."""
    cluster = await _cluster()
    kubelet = FakeKubelet(cluster)
    wanted = a_job(training={"replicas": 2}, optimize={}, gate={}, serving=SERVING)
    async with together(cluster.run(), kubelet.run(), run(cluster, SETTINGS)):
        await cluster.apply(wanted, manager="user")
        job = await until(cluster, wanted, "Succeeded", "Failed")

    assert condition(job, "Succeeded")["status"] == "True", job["status"]
    for kind in ("Accepted", "Trained", "Optimized", "GatePassed", "RolledOut"):
        assert condition(job, kind)["status"] == "True", (kind, job["status"])
    status = job["status"]
    assert status["artifacts"] == {"model": dump(MODEL), "optimized": dump(SERVED)}
    assert status["evaluation"] == dump(EVALUATION)
    assert status["phase"] == "Succeeded"
    assert status["progress"] == "100 %"
    assert status["rollout"]["trafficPercent"] == 100
    assert [entry["uri"] for entry in status["history"]] == [SERVED.uri]
    [service] = await cluster.list(INFERENCE_SERVICE, name="docs")
    assert service["spec"]["predictor"]["model"]["storageUri"] == SERVED.uri
    assert kubelet.started[names.TRAIN] == 2
