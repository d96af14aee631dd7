"""BertJobs in a queue of the real Kueue; pods are ended by a fake kubelet, Jobs by the real Job controller."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import as_operator, kueue
from support.cluster import install_crd, running, settings_for
from support.fake_kubelet import End, FakeKubelet
from support.jobs import a_job
from support.operating import SETTINGS, condition, found, together, until
from support.rights import Right

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, JOB, WORKLOAD, Object, Ref
from bertjob_local.parts import API_ONLY, LocalCluster
from bertjob_operator.runtime.http import HttpCluster, connect
from bertjob_operator.shell.operator import run

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_S = 120


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give etcd, the API server, Kubernetes' own controllers and Kueue."""
    kueue.need()
    settings = settings_for(*API_ONLY, "controller-manager")
    with running(tmp_path_factory.mktemp("queued"), settings) as cluster:
        install_crd(cluster)
        with kueue.running(cluster, tmp_path_factory.mktemp("kueue")):
            yield cluster


@pytest.fixture
def namespace(queued: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> str:
    """Return a namespace whose queue ``team`` has one CPU."""
    name = make_namespace(queued)
    kueue.quota(queued, name, cpu="1")
    return name


def _wanted(namespace: str, name: str, **spec: Any) -> Object:
    training = {"replicas": 1, "resources": {"requests": {"cpu": "1"}}, **spec.pop("training", {})}
    job = a_job(training=training, queueName="team", **spec)
    job["metadata"] |= {"namespace": namespace, "name": name}
    return job


@asynccontextmanager
async def _operated(
    cluster: LocalCluster, namespace: str, *, role: Path | None = None
) -> AsyncIterator[tuple[HttpCluster, FakeKubelet]]:
    """Run an operator, with *role* as its kubeconfig, and a kubelet; training pods run until they are released."""
    own = role or cluster.layout.kubeconfig
    async with connect(cluster.layout.kubeconfig) as real, connect(own) as operators:
        kubelet = FakeKubelet(real, script={names.TRAIN: [End(holds=True) for _ in range(20)]}, namespace=namespace)
        async with together(kubelet.run(), run(operators, replace(SETTINGS, namespace=namespace))):
            yield real, kubelet


async def _until_queued(cluster: HttpCluster, job: Object, *, said: str) -> Object:
    """Return the job once it waits for quota, with a word of Kueue's."""
    name = job["metadata"]["name"]

    def waits(item: Object) -> bool:
        why = condition(item, "Scheduled")
        return item["metadata"]["name"] == name and why.get("reason") == "WaitingForQuota" and said in why["message"]

    return await found(cluster, BERT_JOB, waits, seconds=PATIENCE_S)


async def _training(cluster: HttpCluster, job: Object) -> Object:
    """Return the job once it trains."""
    return await until(cluster, job, "Training", seconds=PATIENCE_S)


async def test_quota_blocks_and_admits(queued: LocalCluster, namespace: str) -> None:
    """A job that the quota has no room for waits with Kueue's own words, and runs when the one before it has ended."""
    first, second = _wanted(namespace, "first"), _wanted(namespace, "second", preRunningDeadlineSeconds=60)
    async with _operated(queued, namespace) as (cluster, kubelet):
        await cluster.apply(first, manager="user")
        await _training(cluster, first)
        await cluster.apply(second, manager="user")
        waiting = await _until_queued(cluster, second, said="insufficient unused quota for cpu")
        started = kubelet.started[names.TRAIN]
        await kubelet.release(names.TRAIN)
        assert condition(await until(cluster, first, "Succeeded", "Failed"), "Succeeded")["status"] == "True"
        running_now = await _training(cluster, second)
        await kubelet.release(names.TRAIN)
        ended = await until(cluster, second, "Succeeded", "Failed")

    assert (waiting["status"]["phase"], started) == ("Queued", 1)
    assert condition(waiting, "Stalled")["status"] == "False"
    assert condition(running_now, "Scheduled")["reason"] != "WaitingForQuota"
    assert condition(ended, "Succeeded")["status"] == "True", ended["status"]
    assert ended["status"]["training"]["disruptions"] == 0


async def test_suspended_job_leaves_the_queue(queued: LocalCluster, namespace: str, tmp_path: Path) -> None:
    """Suspending gives the quota to the next job; resuming goes to the end of the queue, on with the same Job, by the chart's role."""
    first, second = _wanted(namespace, "first"), _wanted(namespace, "second")
    own = as_operator.kubeconfig(queued, tmp_path)
    with as_operator.requests() as seen:
        ended, stopped = await _suspended_and_resumed(queued, namespace, first, second, role=own)

    assert stopped["spec"]["suspend"] is True
    assert condition(ended, "Succeeded")["status"] == "True", ended["status"]
    assert (ended["status"]["attempt"], ended["status"]["training"]["disruptions"]) == (0, 0)
    assert not seen.refused
    assert seen.used >= {Right(WORKLOAD.group, WORKLOAD.plural, verb) for verb in ("list", "watch", "patch")}


async def _suspended_and_resumed(
    queued: LocalCluster, namespace: str, first: Object, second: Object, *, role: Path
) -> tuple[Object, Object]:
    """Return the first job at its end, and its Job while it was suspended."""
    async with _operated(queued, namespace, role=role) as (cluster, kubelet):
        await cluster.apply(first, manager="user")
        await _training(cluster, first)
        await cluster.apply(second, manager="user")
        await _until_queued(cluster, second, said="insufficient unused quota for cpu")
        await cluster.apply({**first, "spec": {**first["spec"], "suspend": True}}, manager="user")
        await until(cluster, first, "Suspended", seconds=PATIENCE_S)
        await _training(cluster, second)
        [stopped] = await cluster.list(JOB, namespace=namespace, name="first-train-0")
        await cluster.apply(first, manager="user")
        await _until_queued(cluster, first, said="insufficient unused quota for cpu")
        await kubelet.release(names.TRAIN)
        await until(cluster, second, "Succeeded", "Failed")
        await _training(cluster, first)
        await kubelet.release(names.TRAIN)
        return await until(cluster, first, "Succeeded", "Failed"), stopped


async def test_failed_job_does_not_come_back(queued: LocalCluster, namespace: str) -> None:
    """A deadline ends a running job for good: Kueue does not resume its Job, and its quota is free."""
    first, second = _wanted(namespace, "first", activeDeadlineSeconds=5), _wanted(namespace, "second")
    async with _operated(queued, namespace) as (cluster, _):
        await cluster.apply(first, manager="user")
        ended = await until(cluster, first, "Succeeded", "Failed")
        await cluster.apply(second, manager="user")
        await _training(cluster, second)
        [left] = await cluster.list(JOB, namespace=namespace, name="first-train-0")

    assert condition(ended, "Failed")["reason"] == "DeadlineExceeded"
    assert left["spec"]["suspend"] is True
    assert not left["status"].get("active")


async def test_elastic_job_grows_within_its_quota(queued: LocalCluster, namespace: str) -> None:
    """A job with elastic bounds gets one more worker when there is quota, without losing the one it has."""
    kueue.quota(queued, namespace, cpu="2")
    job = _wanted(namespace, "grows", training={"elastic": {"min": 1, "max": 3}})
    async with _operated(queued, namespace) as (cluster, kubelet):
        await cluster.apply(job, manager="user")
        await _training(cluster, job)
        await cluster.replace(
            Ref(BERT_JOB, namespace, "grows"), "/spec/training/replicas", old=1, new=2, uid=await _uid(cluster, job)
        )
        await found(cluster, BERT_JOB, lambda item: _nodes(item, namespace) == "2/2", seconds=PATIENCE_S)
        workloads = await cluster.list(WORKLOAD, namespace=namespace)
        await kubelet.release(names.TRAIN)
        ended = await until(cluster, job, "Succeeded", "Failed")

    assert len(workloads) >= 2, "a replacement for the smaller slice"
    assert kubelet.started[names.TRAIN] == 2
    assert condition(ended, "Succeeded")["status"] == "True", ended["status"]


def test_page_is_true(queued: LocalCluster) -> None:
    """The queue in the documentation is one that Kueue takes."""
    page = (Path(__file__).parents[3] / "docs" / "kueue.md").read_text()
    [manifests] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)

    said = queued.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=manifests)

    assert said.count("created (server dry run)") == len(list(yaml.safe_load_all(manifests)))


async def _uid(cluster: HttpCluster, job: Object) -> str:
    metadata = job["metadata"]
    [stored] = await cluster.list(BERT_JOB, namespace=metadata["namespace"], name=metadata["name"])
    uid: str = stored["metadata"]["uid"]
    return uid


def _nodes(item: Object, namespace: str) -> str | None:
    return item["status"].get("nodes") if item["metadata"]["namespace"] == namespace and "status" in item else None
