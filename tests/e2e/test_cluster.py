"""A BertJob on a cluster of real parts: installed by helm, applied and awaited by kubectl, served by KServe."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import support.installed
from support import rights
from support.helm import only, rendered
from support.installed import SYSTEM, a_tiny_job, operator_log, operator_pid
from support.rights import Right

from bertjob_api import names
from bertjob_local.parts import LocalCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(290)]

NAMESPACE = "tiny-jobs"
SERVICE = "tiny"
TEXTS = ["the cat good sat", "the cat bad ran"]

RARELY = {
    Right("", "pods/status", "patch"),  # a node is lost
    Right("batch", "jobs", "delete"),  # optimize begins again, cleanPodPolicy
    Right("bertjob.dev", "bertjobs", "delete"),  # ttlSecondsAfterFinished
    Right("bertjob.dev", "bertjobs/finalizers", "update"),  # asked by admission, not by a request
    Right("coordination.k8s.io", "leases", "create"),  # the first leader
    Right("kueue.x-k8s.io", "workloads", "list"),  # Kueue is installed
    Right("kueue.x-k8s.io", "workloads", "watch"),
    Right("kueue.x-k8s.io", "workloads", "patch"),  # a job in its queue is suspended
}
"""What one undisturbed job does not need."""


@dataclass(frozen=True)
class Finished:
    """A cluster on which one job ran undisturbed."""

    cluster: LocalCluster
    status: dict[str, Any]


@pytest.fixture(scope="module")
def installed(local_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give the local cluster with the chart, and a namespace with storage, model and data."""
    with support.installed.installed(local_cluster, NAMESPACE, tmp_path_factory.mktemp("inputs")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def finished(installed: LocalCluster) -> Finished:
    """Run a job with every stage."""
    _apply(installed, a_tiny_job(NAMESPACE, "whole", serving={"inferenceService": SERVICE}))
    return Finished(installed, _await(installed, "whole", "Succeeded")["status"])


def _apply(cluster: LocalCluster, job: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(job))


def _get(cluster: LocalCluster, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", *words, "--output=json"))
    return found


def _await(cluster: LocalCluster, name: str, condition: str) -> dict[str, Any]:
    """Return the job once ``kubectl wait`` has seen *condition*."""
    try:
        cluster.kubectl(
            "wait", f"bertjob/{name}", f"--namespace={NAMESPACE}", f"--for=condition={condition}", "--timeout=200s"
        )
    except subprocess.CalledProcessError:
        status = _get(cluster, "bertjob", name, f"--namespace={NAMESPACE}")["status"]
        pytest.fail(f"{condition} did not become True: {json.dumps(status, indent=1)}")
    return _get(cluster, "bertjob", name, f"--namespace={NAMESPACE}")


def _ask(cluster: LocalCluster, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of the predictor's Service."""
    service = _get(cluster, "service", names.predictor_name(SERVICE), f"--namespace={NAMESPACE}")["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # our own URL
        answer: dict[str, Any] = json.load(response)
    return answer


def test_every_stage(finished: Finished) -> None:
    """The gate passed the INT8 model, and it gets all traffic."""
    assert finished.status["evaluation"]["verdict"] == "Passed"
    assert finished.status["rollout"]["trafficPercent"] == 100
    assert finished.status["training"]["step"] == 80


def test_v1(finished: Finished) -> None:
    """KServe's Service answers the V1 protocol with what the model has learnt."""
    answer = _ask(finished.cluster, f"/v1/models/{SERVICE}:predict", {"instances": TEXTS})

    assert [each["label"] for each in answer["predictions"]] == ["good", "bad"]


def test_v2(finished: Finished) -> None:
    """It answers the Open Inference Protocol with the same, and says which artifact answered."""
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": TEXTS}
    answer = _ask(finished.cluster, f"/v2/models/{SERVICE}/infer", {"inputs": [tensor]})
    outputs = {each["name"]: each["data"] for each in answer["outputs"]}

    assert outputs["label"] == ["good", "bad"]
    assert answer["model_version"] == finished.status["artifacts"]["optimized"]["sha256"]


def test_probes(finished: Finished) -> None:
    """KServe fills the model's name into the probe, so a pod is ready when its model is."""
    found = _get(finished.cluster, "deployment", names.predictor_name(SERVICE), f"--namespace={NAMESPACE}")
    container = found["spec"]["template"]["spec"]["containers"][0]

    assert container["readinessProbe"]["httpGet"]["path"] == f"/v2/models/{SERVICE}/ready"


def test_rights(finished: Finished) -> None:
    """The operator was refused nothing, and a whole job needs every right of the chart but those for rarer moments."""
    log = [str(entry.get("message")) for entry in operator_log(finished.cluster)]
    manifests = rendered()
    roles = [
        only(manifests, "ClusterRole", "bertjob-operator"),
        only(manifests, "ClusterRole", "bertjob-operator-nodes"),
        only(manifests, "Role", "bertjob-operator-leader"),
    ]
    allowed = rights.granted(rule for role in roles for rule in role["rules"])
    used = rights.needed(log)

    assert [line for line in log if re.search(r"answered 40[13]|Forbidden", line)] == []
    assert used <= allowed
    assert allowed - used <= RARELY


def test_unreachable_bucket(installed: LocalCluster) -> None:
    """A bucket that is not there is named by S3's own word before any training pod is asked for."""
    storage = {"prefix": "s3://no-such-bucket/team"}
    _apply(installed, a_tiny_job(NAMESPACE, "lost", storage=storage, optimize=None, gate=None))
    _await(installed, "lost", "Failed")
    job = _get(installed, "bertjob", "lost", f"--namespace={NAMESPACE}")
    [why] = [item for item in job["status"]["conditions"] if item["type"] == "Accepted"]
    selector = f"--selector={names.JOB_LABEL}=lost,{names.COMPONENT_LABEL}={names.TRAIN}"

    assert why["status"] == "False"
    assert "NoSuchBucket" in why["message"] or "no-such-bucket" in why["message"]
    assert _get(installed, "pods", f"--namespace={NAMESPACE}", selector)["items"] == []


def test_killed_operator(finished: Finished) -> None:
    """A job whose operator is killed in the middle of training ends with the same model as the one left alone."""
    cluster = finished.cluster
    _apply(cluster, a_tiny_job(NAMESPACE, "disturbed", optimize=None, gate=None))
    _await(cluster, "disturbed", "Training")

    os.kill(operator_pid(cluster), signal.SIGKILL)
    status = _await(cluster, "disturbed", "Succeeded")["status"]
    pods = _get(cluster, "pods", f"--namespace={SYSTEM}")["items"]

    assert status["artifacts"]["model"]["sha256"] == finished.status["artifacts"]["model"]["sha256"]
    assert status["attempt"] == 0
    assert [each["restartCount"] for pod in pods for each in pod["status"]["containerStatuses"]] == [1]
