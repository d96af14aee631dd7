"""Suspension, scaling, failures, lost nodes, deadlines and cleaning up, on the embedded cluster."""

from typing import Any

import pytest
from support.embedding import SERVING, operated
from support.fake_kubelet import End, add_node, fails
from support.jobs import a_job
from support.operating import condition, found, gone, until

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, CONFIG_MAP, JOB, NODE, POD, Cluster, Object, Ref
from bertjob_operator.plan import metadata

HOLDS = [End(holds=True)] * 8
TRAIN = {names.COMPONENT_LABEL: names.TRAIN}


def _training(job: Object) -> bool:
    return condition(job, "Training").get("status") == "True"


async def _apply(cluster: Cluster, **spec: Any) -> Object:
    return await cluster.apply(a_job(**spec), manager="user")


async def _pods(cluster: Cluster, *, phase: str = "Running") -> list[Object]:
    return [pod for pod in await cluster.list(POD, labels=TRAIN) if pod["status"]["phase"] == phase]


async def test_suspended_job_gives_nodes_back_and_resumes_the_same_attempt() -> None:
    """Suspend ends the pods and keeps the Job; resuming goes on with the same Job, and the job succeeds."""
    async with operated(script={names.TRAIN: HOLDS[:2]}) as (cluster, kubelet):
        await _apply(cluster, training={"replicas": 2})
        await found(cluster, BERT_JOB, _training)
        await _apply(cluster, training={"replicas": 2}, suspend=True)
        job = await until(cluster, a_job(), "Suspended")
        await found(
            cluster,
            JOB,
            lambda each: (
                each["metadata"]["labels"].get(names.ATTEMPT_LABEL) == "0" and not each["status"].get("active")
            ),
        )

        assert (condition(job, "Suspended")["reason"], job["status"]["phase"]) == ("SuspendRequested", "Suspended")
        assert await _pods(cluster) == []

        await _apply(cluster, training={"replicas": 2}, suspend=False)
        job = await until(cluster, a_job(), "Succeeded", "Failed")

        assert condition(job, "Succeeded")["status"] == "True"
        assert condition(job, "Suspended")["status"] == "False"
        assert job["status"]["attempt"] == 0
        assert kubelet.started[names.TRAIN] == 4


async def test_scaling_to_zero_is_a_pause() -> None:
    """With no nodes wanted the Job is suspended: one with zero completions would count as complete."""
    async with operated(script={names.TRAIN: HOLDS[:2]}) as (cluster, _):
        await _apply(cluster, training={"replicas": 2})
        await found(cluster, BERT_JOB, _training)
        await _apply(cluster, training={"replicas": 0})
        job = await until(cluster, a_job(), "Suspended")
        assert condition(job, "Suspended")["reason"] == "ScaledToZero"

        await _apply(cluster, training={"replicas": 1})
        job = await until(cluster, a_job(), "Succeeded", "Failed")
        assert condition(job, "Succeeded")["status"] == "True"


@pytest.mark.parametrize("replicas", [1, 4])
async def test_scaling_moves_completions_and_parallelism_together(replicas: int) -> None:
    """A new number of nodes reaches the running Job, whose other pods go on."""
    async with operated(script={names.TRAIN: list(HOLDS)}) as (cluster, _):
        await _apply(cluster, training={"replicas": 2})
        await found(cluster, BERT_JOB, _training)
        before = {pod["metadata"]["uid"] for pod in await _pods(cluster)}
        await _apply(cluster, training={"replicas": replicas})
        job = await found(cluster, BERT_JOB, lambda each: each["status"].get("nodes") == f"{replicas}/{replicas}")
        [training] = await cluster.list(JOB, labels=TRAIN)
        after = {pod["metadata"]["uid"] for pod in await _pods(cluster)}

        assert (training["spec"]["completions"], training["spec"]["parallelism"]) == (replicas, replicas)
        assert len(before & after) == min(2, replicas)
        assert job["status"]["replicas"] == replicas
        assert job["status"]["attempt"] == 0


async def test_deleted_training_job_is_the_next_attempt() -> None:
    """When somebody deletes the training Job, a new attempt begins, counted as a disruption."""
    async with operated(script={names.TRAIN: HOLDS[:1]}) as (cluster, _):
        await _apply(cluster)
        await found(cluster, BERT_JOB, _training)
        await cluster.delete(Ref(JOB, "default", names.train_name("sentiment", 0)))
        job = await until(cluster, a_job(), "Succeeded", "Failed")

        assert condition(job, "Succeeded")["status"] == "True"
        assert job["status"]["attempt"] == 1
        assert (job["status"]["training"]["restarts"], job["status"]["training"]["disruptions"]) == (0, 1)
        [training] = await cluster.list(JOB, labels=TRAIN)
        assert training["metadata"]["name"] == names.train_name("sentiment", 1)


async def test_failures_are_counted_apart_from_disruptions() -> None:
    """A program that fails costs a restart, an eviction does not; both are replaced and shown."""
    disrupted = End(137, conditions=({"type": "DisruptionTarget", "status": "True"},))
    script = {names.TRAIN: [fails(75, "StorageUnreachable", "timed out"), disrupted, End(143)]}
    async with operated(script=script) as (cluster, kubelet):
        await _apply(cluster, backoff={"limit": 1})
        job = await until(cluster, a_job(), "Succeeded", "Failed")

        assert condition(job, "Succeeded")["status"] == "True"
        assert (job["status"]["training"]["restarts"], job["status"]["training"]["disruptions"]) == (1, 2)
        assert kubelet.started[names.TRAIN] == 4


async def test_bad_node_is_left() -> None:
    """Three failures on one node begin an attempt that avoids it; the old Job keeps its pods, and no third attempt follows."""
    script = {names.TRAIN: [fails(75, "StorageUnreachable", "timed out")] * 3}
    async with operated(script=script) as (cluster, kubelet):
        await cluster.delete(Ref(NODE, "", "node-b"))
        await _apply(cluster, backoff={"limit": 10})
        job = await until(cluster, a_job(), "Succeeded", "Failed")
        found_jobs = {each["metadata"]["name"]: each for each in await cluster.list(JOB, labels=TRAIN)}

    assert condition(job, "Succeeded")["status"] == "True", job["status"]
    assert (job["status"]["attempt"], job["status"]["training"]["restarts"]) == (1, 3)
    assert found_jobs["sentiment-train-0"]["spec"]["suspend"] is True
    assert found_jobs["sentiment-train-1"]["metadata"]["annotations"][metadata.AVOIDED_ANNOTATION] == "node-a"
    assert kubelet.started[names.TRAIN] == 4


async def test_spent_budget_fails_the_job() -> None:
    """More failures in the window than backoff.limit end the job, with the newest failure in words."""
    script = {names.TRAIN: [fails(75, "StorageUnreachable", "s3://bucket: timed out")] * 9}
    async with operated(script=script) as (cluster, _):
        await _apply(cluster, backoff={"limit": 2})
        job = await until(cluster, a_job(), "Failed", "Succeeded")

        assert condition(job, "Failed")["reason"] == "BackoffLimitExceeded"
        assert condition(job, "Failed")["message"] == (
            "3 failures within 1h, 2 are tolerated (spec.backoff); the newest: s3://bucket: timed out"
        )
        assert job["status"]["lastFailure"]["reason"] == "StorageUnreachable"
        assert job["status"]["training"]["restarts"] == 3


async def test_pod_on_a_lost_node_is_replaced() -> None:
    """A pod whose node is gone is given up as a disruption, and its successor runs elsewhere."""
    async with operated(script={names.TRAIN: HOLDS[:1]}) as (cluster, _):
        await _apply(cluster)
        await found(cluster, BERT_JOB, _training)
        [pod] = await _pods(cluster)
        await cluster.delete(Ref(NODE, "", pod["spec"]["nodeName"]))
        await add_node(cluster, "node-c")
        await cluster.apply({**a_job(), "metadata": {**a_job()["metadata"], "labels": {"wake": "up"}}}, manager="user")
        job = await until(cluster, a_job(), "Succeeded", "Failed")

        assert condition(job, "Succeeded")["status"] == "True"
        assert (job["status"]["training"]["restarts"], job["status"]["training"]["disruptions"]) == (0, 1)
        assert job["status"]["attempt"] == 0


DEADLINES: list[Any] = [
    pytest.param({"activeDeadlineSeconds": 1}, "DeadlineExceeded", id="active"),
    pytest.param({"preRunningDeadlineSeconds": 1}, "PreRunningDeadlineExceeded", id="before running"),
]


@pytest.mark.parametrize(("limit", "reason"), DEADLINES)
async def test_deadline_fails_the_job_and_stops_its_pods(limit: dict[str, int], reason: str) -> None:
    """A deadline that passes ends the job, and no pod of it runs on."""
    async with operated(script={names.TRAIN: HOLDS[:2]}) as (cluster, kubelet):
        kubelet.stuck = reason == "PreRunningDeadlineExceeded"
        await _apply(cluster, training={"replicas": 2}, **limit)
        job = await until(cluster, a_job(), "Failed", "Succeeded")
        await found(
            cluster,
            JOB,
            lambda each: each["metadata"]["name"] == "sentiment-train-0" and not each["status"].get("active"),
        )

        assert condition(job, "Failed")["reason"] == reason
        assert await _pods(cluster) == []
        assert "completionTime" in job["status"]


async def test_finished_job_deletes_itself_after_its_time() -> None:
    """TtlSecondsAfterFinished removes the BertJob and with it its children."""
    async with operated() as (cluster, _):
        await _apply(cluster, ttlSecondsAfterFinished=0)
        await gone(cluster, BERT_JOB, "sentiment")

        assert await cluster.list(JOB) == []


async def test_policy_all_removes_jobs_and_pods() -> None:
    """With cleanPodPolicy All nothing but the BertJob and its configuration stays."""
    async with operated() as (cluster, _):
        await _apply(cluster, cleanPodPolicy="All")
        await until(cluster, a_job(), "Succeeded")
        for name in (names.preflight_name("sentiment"), names.train_name("sentiment", 0)):
            await gone(cluster, JOB, name)

        assert await cluster.list(POD) == []
        assert len(await cluster.list(BERT_JOB)) == 1


async def test_job_of_the_same_name_waits_for_leftovers() -> None:
    """A child's name that is taken by something else stops the job until it is free, and nothing is overwritten."""
    async with operated() as (cluster, _):
        stranger = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": names.spec_config_name("sentiment"),
                "namespace": "default",
                "labels": {names.JOB_LABEL: "sentiment", names.PART_OF_LABEL: "bertjob"},
            },
            "data": {"mine": "yes"},
        }
        await cluster.apply(stranger, manager="somebody")
        await _apply(cluster)
        await found(cluster, BERT_JOB, lambda each: condition(each, "Accepted").get("reason") == "NamesTaken")
        [kept] = await cluster.list(CONFIG_MAP)
        assert kept["data"] == {"mine": "yes"}

        await cluster.delete(Ref(CONFIG_MAP, "default", names.spec_config_name("sentiment")))
        job = await until(cluster, a_job(), "Succeeded", "Failed")
        assert condition(job, "Succeeded")["status"] == "True"


async def test_overlay_on_reserved_fields_is_refused() -> None:
    """A pod template that sets what the operator sets ends the job before anything runs."""
    async with operated() as (cluster, kubelet):
        await _apply(cluster, training={"podTemplate": {"spec": {"restartPolicy": "Always"}}})
        job = await until(cluster, a_job(), "Failed", "Succeeded")

        assert condition(job, "Accepted")["status"] == "False"
        assert condition(job, "Failed")["message"] == (
            "spec.training.podTemplate.spec.restartPolicy: is set by the operator; remove it"
        )
        assert kubelet.started == {}


async def test_verdict_is_final() -> None:
    """A job that has failed starts nothing again, whatever happens to its children."""
    script = {names.TRAIN: [fails(42, "BadLabel", "label 'x' is unknown")]}
    async with operated(script=script) as (cluster, kubelet):
        await _apply(cluster, serving=SERVING)
        await until(cluster, a_job(), "Failed", "Succeeded")
        await cluster.delete(Ref(JOB, "default", names.train_name("sentiment", 0)))
        await cluster.delete(Ref(JOB, "default", names.preflight_name("sentiment")))
        other = a_job()
        other["metadata"]["name"] = "other"
        await cluster.apply(other, manager="user")
        await until(cluster, other, "Succeeded", "Failed")

        assert {job["metadata"]["name"] for job in await cluster.list(JOB)} == {"other-preflight", "other-train-0"}
        assert kubelet.started[names.TRAIN] == 2
