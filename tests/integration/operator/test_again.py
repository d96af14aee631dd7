"""A job is deleted, made again, renamed and trained anew for the same service: real controllers, real KServe, played pods."""

import asyncio
from dataclasses import replace

import pytest
from support.fake_kubelet import EVALUATION as FIGURES
from support.fake_kubelet import SERVED, End
from support.operating import condition, gone, none_left, until
from support.serving_runtime import MakeNamespace, job_for, operated, place_for

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, CONFIG_MAP, INFERENCE_SERVICE, JOB, POD, SERVICE, Ref
from bertjob_api.termination import Result
from bertjob_local.parts import LocalCluster

pytestmark = pytest.mark.cluster

NEXT = replace(SERVED, uri="s3://bucket/team/models/" + "c" * 64, sha256="c" * 64)


@pytest.fixture
def namespace(control_plane: LocalCluster, make_namespace: MakeNamespace) -> str:
    """Return a fresh namespace with our serving runtime."""
    return place_for(control_plane, make_namespace)


async def test_deleted_made_again_and_renamed(control_plane: LocalCluster, namespace: str) -> None:
    """Deleting ends Jobs and pods and leaves the service; the same name begins anew; another name is the next version."""
    first = job_for(namespace)
    renamed = {**first, "metadata": {**first["metadata"], "name": "sentiment-2"}}
    labels = {names.JOB_LABEL: "sentiment"}
    async with operated(control_plane, namespace) as (cluster, kubelet):
        await cluster.apply(first, manager="user")
        ended = await until(cluster, first, "Succeeded", "Failed")
        [service] = await cluster.list(INFERENCE_SERVICE, namespace=namespace)

        kubelet.script = {names.TRAIN: [End(holds=True)]}
        await cluster.delete(Ref(BERT_JOB, namespace, "sentiment"))
        await cluster.apply(first, manager="user")  # at once: children of the old one may still stand
        again = await until(cluster, first, "Training", seconds=90)
        await kubelet.release(names.TRAIN)
        again = await until(cluster, first, "Succeeded", "Failed")
        kept = await cluster.list(INFERENCE_SERVICE, namespace=namespace)

        kubelet.script = {names.OPTIMIZE: [End(0, Result(artifact=NEXT, evaluation=FIGURES))]}
        await cluster.apply(renamed, manager="user")
        newest = await until(cluster, renamed, "Succeeded", "Failed", seconds=120)
        await cluster.delete(Ref(BERT_JOB, namespace, "sentiment"))
        await cluster.delete(Ref(BERT_JOB, namespace, "sentiment-2"))
        async with asyncio.timeout(60):
            await gone(cluster, BERT_JOB, "sentiment", namespace=namespace)
            for kind in (JOB, POD, SERVICE):
                await none_left(cluster, kind, namespace=namespace, labels=labels)
        left = await cluster.list(INFERENCE_SERVICE, namespace=namespace)
        history = await cluster.list(CONFIG_MAP, namespace=namespace, name=names.history_name("docs"))

    assert ended["metadata"]["uid"] != again["metadata"]["uid"]
    assert condition(again, "Succeeded")["status"] == "True", again["status"]
    assert again["status"]["attempt"] == 0
    assert [each["metadata"]["uid"] for each in kept] == [service["metadata"]["uid"]]
    assert condition(newest, "Succeeded")["status"] == "True", newest["status"]
    versions = [(entry["job"], entry["uri"]) for entry in newest["status"]["history"]]
    assert versions[0] == ("sentiment-2", NEXT.uri)
    assert ("sentiment", SERVED.uri) in versions[1:]
    assert [each["spec"]["predictor"]["model"]["storageUri"] for each in left] == [NEXT.uri]
    assert len(history) == 1
