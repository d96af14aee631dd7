"""KServe's own controllers and webhooks over the process kubelet: download from S3, serving, a new model."""

import json
import urllib.request

import boto3
import pytest
from support.waiting import eventually

from bertjob_api import names
from bertjob_local.parts import LocalCluster

pytestmark = pytest.mark.cluster

BUCKET = "kserve-on-processes"
SERVE = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open(sys.argv[2] + "/version").read().encode())
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


@pytest.fixture
def namespace(local_cluster: LocalCluster, make_namespace) -> str:
    """Give a namespace with S3 credentials and a serving runtime."""
    name = make_namespace(local_cluster)
    env = local_cluster.env()
    annotations = {
        "serving.kserve.io/s3-endpoint": env["AWS_ENDPOINT_URL"].removeprefix("http://"),
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": env["AWS_REGION"],
    }
    data = {key: env[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3", "annotations": annotations}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    apply(local_cluster, name, {**secret, "stringData": data})
    apply(local_cluster, name, {**account, "secrets": [{"name": "s3"}]})
    apply(local_cluster, name, a_runtime())
    return name


def apply(cluster, namespace, obj):
    cluster.kubectl("apply", "--namespace", namespace, "-f", "-", stdin=json.dumps(obj))


def a_runtime():
    container = {
        "name": "kserve-container",
        "image": "x",
        "command": ["python", "-u", "-c", SERVE, "{{.Name}}", names.MODEL_DIR],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"httpGet": {"path": "/v2/models/{{.Name}}/ready", "port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    spec = {"supportedModelFormats": [{"name": "tiny"}], "containers": [container]}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "tiny"},
        "spec": spec,
    }


def an_inference_service(uri):
    model = {"modelFormat": {"name": "tiny"}, "runtime": "tiny", "storageUri": uri}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    predictor = {"serviceAccountName": "reader", "minReplicas": 1, "deploymentStrategy": strategy, "model": model}
    annotations = {names.KSERVE_MODE_ANNOTATION: "Standard", names.KSERVE_AUTOSCALER_ANNOTATION: "none"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "mood", "annotations": annotations},
        "spec": {"predictor": predictor},
    }


def a_model(cluster, version):
    """Store a model that is nothing but its version, and return its URI."""
    env = cluster.env()
    s3 = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    if BUCKET not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=f"{version}/version", Body=version.encode())
    s3.close()
    return f"s3://{BUCKET}/{version}"


def served(url):
    """Return the version that answers at *url*."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own http URL
        return answer.read().decode()


def test_real_kserve_serves_from_processes(local_cluster, namespace):
    """KServe's pod downloads from S3 with the account's Secret, becomes Ready, and rolls to a new model without a gap."""
    apply(local_cluster, namespace, an_inference_service(a_model(local_cluster, "v1")))
    kubectl = ("--namespace", namespace)
    local_cluster.kubectl("wait", "--for=condition=Ready", "inferenceservice/mood", "--timeout=90s", *kubectl)
    service = json.loads(local_cluster.kubectl("get", "service", "mood-predictor", "-o", "json", *kubectl))
    url = f"http://{service['spec']['clusterIP']}/"
    assert eventually(lambda: served(url)) == "v1"

    apply(local_cluster, namespace, an_inference_service(a_model(local_cluster, "v2")))
    seen = []

    def only_v2():
        seen.append(served(url))
        pods = json.loads(local_cluster.kubectl("get", "pods", "-o", "json", *kubectl))["items"]
        sources = {pod["metadata"]["annotations"].get(names.KSERVE_SOURCE_ANNOTATION, "") for pod in pods}
        return sources == {f"s3://{BUCKET}/v2"}

    eventually(only_v2, timeout_s=90)
    assert served(url) == "v2"
    assert set(seen) <= {"v1", "v2"}
