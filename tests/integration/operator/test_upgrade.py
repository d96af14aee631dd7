"""A new release of the operator, on a real API server: what runs goes on, and what does not fit is named."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support.fake_kubelet import End, FakeKubelet
from support.jobs import a_job
from support.operating import SETTINGS, condition, together, until

from bertjob_api import commands, names
from bertjob_api.cluster import JOB, POD, Object
from bertjob_local.parts import LocalCluster
from bertjob_operator.plan import Platform, jobs
from bertjob_operator.runtime.http import HttpCluster, connect
from bertjob_operator.shell.operator import run
from bertjob_trainer import preflight

pytestmark = pytest.mark.cluster


def _wanted(namespace: str) -> Object:
    job = a_job(training={"replicas": 2}, optimize={})
    job["metadata"]["namespace"] = namespace
    return job


@asynccontextmanager
async def _kubelet(real: LocalCluster, **script: list[End]) -> AsyncIterator[tuple[HttpCluster, FakeKubelet]]:
    async with connect(real.layout.kubeconfig) as cluster:
        kubelet = FakeKubelet(cluster, script=script)
        async with together(kubelet.run()):
            yield cluster, kubelet


async def _training(cluster: HttpCluster, namespace: str) -> tuple[set[str], set[str]]:
    """Return the uids of the training Jobs and of their pods."""
    labels = {names.COMPONENT_LABEL: names.TRAIN}
    found = [await cluster.list(kind, namespace=namespace, labels=labels) for kind in (JOB, POD)]
    first, second = ({each["metadata"]["uid"] for each in objects} for objects in found)
    return first, second


async def test_running_job_survives(
    real_controllers: LocalCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other images, volumes and contract the next release keeps Job and pods as they are; later pods are its own."""
    wanted = _wanted(namespace)
    script = {names.TRAIN: [End(holds=True), End(holds=True)]}
    async with _kubelet(real_controllers, **script) as (cluster, kubelet):
        async with together(run(cluster, replace(SETTINGS, namespace=namespace))):
            await cluster.apply(wanted, manager="user")
            await until(cluster, wanted, "Training")
            before = await _training(cluster, namespace)
        monkeypatch.setattr(commands, "CONTRACT", 999)
        monkeypatch.setattr(jobs, "TRAIN_GRACE_SECONDS", 90)
        newer = Platform(trainer_image="trainer:next", shared_memory="8Gi", scratch="1Gi")
        async with together(run(cluster, replace(SETTINGS, namespace=namespace, platform=newer))):
            other = {**wanted, "metadata": {"name": "other", "namespace": namespace}}
            await cluster.apply(other, manager="user")
            await until(cluster, other, "Succeeded", "Failed")  # it has had time for every job
            after = await _training(cluster, namespace)
            await kubelet.release(names.TRAIN)
            ended = await until(cluster, wanted, "Succeeded", "Failed")
        [optimize] = await cluster.list(JOB, namespace=namespace, name="sentiment-optimize")

    assert [len(each) for each in before] == [1, 2]
    assert all(old <= new for old, new in zip(before, after, strict=True))
    assert condition(ended, "Succeeded")["status"] == "True", ended["status"]
    assert (ended["status"]["attempt"], ended["status"]["training"]["restarts"]) == (0, 0)
    assert optimize["spec"]["template"]["spec"]["containers"][0]["image"] == "trainer:next"


async def test_programs_of_another_release_are_named(real_controllers: LocalCluster, namespace: str) -> None:
    """An image that does not fit ends the job before a GPU is asked for; the condition names both contracts and what to do."""
    wanted = _wanted(namespace)
    code, said = preflight.run({names.SPEC_FILE_ENV: "/absent", names.CONTRACT_ENV: "999"})
    script = {names.PREFLIGHT: [End(code, said)]}
    settings = replace(SETTINGS, namespace=namespace)
    async with _kubelet(real_controllers, **script) as (cluster, kubelet), together(run(cluster, settings)):
        await cluster.apply(wanted, manager="user")
        ended = await until(cluster, wanted, "Succeeded", "Failed")

    why = condition(ended, "Accepted")
    assert why["status"] == "False"
    assert "it speaks contract 1, the operator contract 999" in why["message"]
    assert "use images and operator of the same release" in why["message"]
    assert kubelet.started[names.TRAIN] == 0
