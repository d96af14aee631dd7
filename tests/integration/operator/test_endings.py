"""How jobs end on a real API server with the real Job controller: refused, given up before they ran, and cleaned up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.fake_kubelet import FakeKubelet
from support.jobs import a_job
from support.operating import SETTINGS, condition, none_left, together, until

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, JOB, POD, Cluster, Object
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.http import connect
from bertjob_operator.shell.operator import run

pytestmark = pytest.mark.cluster

RESERVED: Object = {
    "metadata": {"name": "mine", "labels": {names.JOB_LABEL: "other"}},
    "spec": {"restartPolicy": "Always", "containers": [{"name": names.TRAIN, "image": "mine", "env": []}]},
}


@asynccontextmanager
async def _operated(real: LocalCluster, namespace: str) -> AsyncIterator[tuple[Cluster, FakeKubelet]]:
    async with connect(real.layout.kubeconfig) as cluster:
        kubelet = FakeKubelet(cluster, namespace=namespace)
        async with together(kubelet.run(), run(cluster, replace(SETTINGS, namespace=namespace))):
            yield cluster, kubelet


def _named(name: str, namespace: str, **spec: Any) -> Object:
    job = a_job(**spec)
    job["metadata"] = {"name": name, "namespace": namespace}
    return job


async def test_reserved_fields_are_refused(real_controllers: LocalCluster, namespace: str) -> None:
    """Of a pod template every field that the operator sets is named at once, and nothing is started."""
    job = _named("refused", namespace, training={"podTemplate": RESERVED})
    async with _operated(real_controllers, namespace) as (cluster, kubelet):
        await cluster.apply(job, manager="user")
        ended = await until(cluster, job, "Succeeded", "Failed")
        started = await cluster.list(JOB, namespace=namespace)

    message = condition(ended, "Failed")["message"]
    places = (
        "metadata.name",
        f"metadata.labels.{names.JOB_LABEL}",
        "spec.restartPolicy",
        "spec.containers[train].image",
    )
    assert [place for place in places if f"spec.training.podTemplate.{place}: is" not in message] == []
    assert condition(ended, "Accepted")["status"] == "False"
    assert (started, kubelet.started) == ([], {})


async def test_given_up_before_it_ran(real_controllers: LocalCluster, namespace: str) -> None:
    """Pods that do not come to run in time fail the job; cleanPodPolicy says what stays of its Jobs and pods."""
    limits: Object = {"training": {"replicas": 2}, "preRunningDeadlineSeconds": 2}
    jobs = {each: _named(each.lower(), namespace, cleanPodPolicy=each, **limits) for each in ("None", "Running", "All")}
    async with _operated(real_controllers, namespace) as (cluster, kubelet):
        kubelet.stuck = True
        for job in jobs.values():
            await cluster.apply(job, manager="user")
        ended = {policy: await until(cluster, job, "Succeeded", "Failed") for policy, job in jobs.items()}
        async with asyncio.timeout(60):
            await none_left(cluster, POD, namespace=namespace, labels={names.JOB_LABEL: "all"})
            await none_left(cluster, JOB, namespace=namespace, labels={names.JOB_LABEL: "all"})
            await none_left(cluster, POD, namespace=namespace, labels=_training_of("running"))
        stopped = await cluster.list(JOB, namespace=namespace, labels=_training_of("running"))
        going_on = await cluster.list(POD, namespace=namespace, labels=_training_of("none"))
        kept = await cluster.list(BERT_JOB, namespace=namespace)

    assert {condition(each, "Failed")["reason"] for each in ended.values()} == {"PreRunningDeadlineExceeded"}
    assert {condition(each, "Failed")["message"] for each in ended.values()} == {
        "0 of 2 nodes are training after 2 s (spec.preRunningDeadlineSeconds)"
    }
    assert [each["spec"]["suspend"] for each in stopped] == [True]
    assert [each["metadata"].get("deletionTimestamp") for each in going_on] == [None, None]
    assert {each["metadata"]["name"] for each in kept} == {"none", "running", "all"}


def _training_of(name: str) -> dict[str, str]:
    return {names.JOB_LABEL: name, names.COMPONENT_LABEL: names.TRAIN}
