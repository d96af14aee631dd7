"""The process kubelet on a real API server, beside the real scheduler and controllers."""

import json
import os
import urllib.request
from collections.abc import Iterator

import pytest
from support.cluster import running, settings_for
from support.waiting import eventually

from bertjob_local.parts import LocalCluster

pytestmark = pytest.mark.cluster

SAY = "import os, sys; print('token', sorted(os.listdir(sys.argv[1]))); print('node', os.environ['NODE'])"
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
SERVE = "import http.server, os; a = (os.environ['IP'], 8000); s = http.server.HTTPServer\n"
SERVE += "s(a, http.server.SimpleHTTPRequestHandler).serve_forever()"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[LocalCluster]:
    """Give a cluster with two nodes and without KServe and S3."""
    settings = settings_for("etcd", "apiserver", "controller-manager", "scheduler", "kubelet", nodes=2)
    with running(tmp_path_factory.mktemp("nodes"), settings) as found:
        # Pods are refused until the controllers have made it.
        found.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        yield found


def apply(cluster, obj):
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(obj))


def get(cluster, *what):
    return json.loads(cluster.kubectl("get", *what, "-o", "json"))


def container(program, *arguments, **more):
    env = [
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    return {"name": "main", "image": "x", "command": ["python", "-u", "-c", program, *arguments], "env": env, **more}


def an_indexed_job(name, program, *arguments):
    template = {"spec": {"restartPolicy": "Never", "containers": [container(program, *arguments)]}}
    spec = {"completionMode": "Indexed", "completions": 2, "parallelism": 2, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def a_web_server(name):
    probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    tolerations = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        for key in ("not-ready", "unreachable")
    ]
    spec = {"containers": [container(SERVE, readinessProbe=probe)], "tolerations": tolerations}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    body = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


def test_job_runs_with_its_token_and_its_log_is_read(cluster):
    """A real Job completes on processes; tokens are projected, and kubectl logs shows the output."""
    apply(cluster, an_indexed_job("say", SAY, TOKENS))

    cluster.kubectl("wait", "--for=condition=Complete", "job/say", "--timeout=60s")
    pod = get(cluster, "pods", "-l", "batch.kubernetes.io/job-name=say")["items"][0]
    log = cluster.kubectl("logs", pod["metadata"]["name"])

    assert log == f"token ['ca.crt', 'namespace', 'token']\nnode {pod['spec']['nodeName']}\n"
    assert cluster.kubectl("logs", pod["metadata"]["name"], "--tail=1") == f"node {pod['spec']['nodeName']}\n"


def test_service_survives_the_loss_of_a_node(cluster):
    """A Service's address answers; when a node is lost, its pod is replaced elsewhere; healed, the node is Ready again."""
    apply(cluster, a_web_server("web"))
    cluster.kubectl("expose", "deployment", "web", "--port=8000")
    cluster.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
    url = f"http://{get(cluster, 'service', 'web')['spec']['clusterIP']}:8000/"

    def is_answered():
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200

    assert eventually(is_answered)
    lost = get(cluster, "pods", "-l", "app=web")["items"][0]["spec"]["nodeName"]
    mark = cluster.layout.kubelet / "lost" / lost
    mark.parent.mkdir(exist_ok=True)
    mark.touch()

    def both_run_elsewhere():
        pods = get(cluster, "pods", "-l", "app=web")["items"]
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        ready = [pod for pod in alive if is_ready(pod)]
        return len(ready) == 2 and all(pod["spec"]["nodeName"] != lost for pod in ready)

    eventually(both_run_elsewhere, timeout_s=90)
    assert is_answered()
    mark.unlink()
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{lost}", "--timeout=60s")

    def dead_pods_are_gone():
        return len(get(cluster, "pods", "-l", "app=web")["items"]) == 2

    eventually(dead_pods_are_gone)


def is_ready(obj):
    conditions = obj.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_restarted_kubelet_adopts_nothing(cluster):
    """After a crash of the kubelet its processes are gone, and what never restarts has failed."""
    program = "import os, time; print(os.getpid()); time.sleep(600)"
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container(program)]}
    apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orphan"}, "spec": pod})
    pid = int(eventually(lambda: log_of(cluster, "orphan")))

    cluster.crash("kubelet")

    eventually(lambda: not is_process(pid), timeout_s=5)
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/orphan", "--timeout=60s")
    assert log_of(cluster, "orphan") == f"{pid}\n"


def log_of(cluster, pod):
    found = get(cluster, "pods", "--field-selector", f"metadata.name={pod},status.phase!=Pending")["items"]
    return cluster.kubectl("logs", pod) if found else ""


def is_process(pid):
    return os.path.exists(f"/proc/{pid}")  # noqa: PTH110
