"""The control plane of real parts: what works in it, and that none of it is left behind."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from support.waiting import eventually

from bertjob_local.parts import LocalCluster
from bertjob_local.parts.s3 import BUCKET

pytestmark = pytest.mark.cluster

MakeNamespace = Callable[[LocalCluster], str]

RUNTIME = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "ServingRuntime",
    "metadata": {"name": "echo"},
    "spec": {
        "supportedModelFormats": [{"name": "bert", "autoSelect": True}],
        "containers": [{"name": "kserve-container", "image": "echo", "command": ["echo"]}],
    },
}
SERVICE = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "reviews", "annotations": {"serving.kserve.io/autoscalerClass": "none"}},
    "spec": {"predictor": {"model": {"modelFormat": {"name": "bert"}, "storageUri": f"s3://{BUCKET}/model"}}},
}


def _apply(cluster: LocalCluster, namespace: str, *manifests: dict[str, Any]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(items))


def _get(cluster: LocalCluster, namespace: str, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "-n", namespace, "-o", "json", *what))
    return found


def test_server_says_the_pinned_version(control_plane: LocalCluster):
    """Client and server are of the pinned release, not of an unstamped v0.0.0."""
    version = json.loads(control_plane.kubectl("version", "-o", "json"))

    assert version["serverVersion"]["gitVersion"] == version["clientVersion"]["gitVersion"] == "v1.36.3"


def test_controllers_and_scheduler_act(control_plane: LocalCluster, make_namespace: MakeNamespace):
    """A Job becomes a pod, which the scheduler looked at and found no Node for."""
    namespace = make_namespace(control_plane)
    container = {"name": "main", "image": "x", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template}}
    _apply(control_plane, namespace, job)

    def unschedulable() -> bool:
        pods = _get(control_plane, namespace, "pods", "-l", "batch.kubernetes.io/job-name=j")["items"]
        conditions = [each for pod in pods for each in pod["status"].get("conditions", [])]
        return any(each.get("reason") == "Unschedulable" for each in conditions)

    eventually(unschedulable)


def test_kserve_turns_a_service_into_a_deployment(control_plane: LocalCluster, make_namespace: MakeNamespace):
    """Webhooks accept runtime and service, and the Deployment's pods get the model downloader injected."""
    namespace = make_namespace(control_plane)
    _apply(control_plane, namespace, RUNTIME, SERVICE)

    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = _get(control_plane, namespace, "pods")["items"]
        return found

    eventually(pods)
    deployment = _get(control_plane, namespace, "deployment", "reviews-predictor")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["internal.serving.kserve.io/storage-initializer-sourceuri"] == f"s3://{BUCKET}/model"
    assert [each["name"] for each in pods()[0]["spec"]["initContainers"]] == ["storage-initializer"]


def test_kserve_refuses_a_bad_service(control_plane: LocalCluster, make_namespace: MakeNamespace):
    """KServe's validating webhook is really asked: a name it cannot use is refused."""
    namespace = make_namespace(control_plane)
    bad = SERVICE | {"metadata": {"name": "9-starts-with-a-digit"}}

    with pytest.raises(Exception, match="non-zero exit status") as caught:
        _apply(control_plane, namespace, RUNTIME, bad)
    assert "denied the request" in caught.value.stderr


def test_s3_keeps_and_protects(control_plane: LocalCluster):
    """The bucket stores bytes, refuses a second conditional put with 412, and a wrong secret with 403."""
    env = control_plane.env()
    keys = {"aws_access_key_id": env["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
    place = {"endpoint_url": env["AWS_ENDPOINT_URL"], "region_name": env["AWS_REGION"]}
    s3 = boto3.client("s3", **place, **keys)
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"first", IfNoneMatch="*")

    with pytest.raises(ClientError) as again:
        s3.put_object(Bucket=BUCKET, Key="once", Body=b"second", IfNoneMatch="*")
    with pytest.raises(ClientError) as stranger:
        boto3.client("s3", **place, **(keys | {"aws_secret_access_key": "wrong"})).list_objects_v2(Bucket=BUCKET)

    assert again.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert stranger.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert s3.get_object(Bucket=BUCKET, Key="once")["Body"].read() == b"first"


def test_state_file_holds_no_secret(control_plane: LocalCluster):
    """Whoever may read the state file learns neither tokens nor the S3 secret."""
    text = control_plane.layout.state.read_text()

    assert control_plane.env()["AWS_SECRET_ACCESS_KEY"] not in text
    assert "token" not in text
    assert control_plane.layout.kubeconfig.stat().st_mode & 0o077 == 0


def test_tools_of_the_environment(control_plane: LocalCluster):
    """Helm and kubectl of the environment are the pinned ones and reach this cluster."""
    assert "kserve" in control_plane.kubectl("get", "namespaces", "-o", "name")
    assert control_plane.env()["KUBECONFIG"] == str(control_plane.layout.kubeconfig)
