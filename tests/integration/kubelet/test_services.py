"""Services and InferenceServices: who answers, who is refused, how one model replaces another."""

import asyncio

import pytest

from bertjob_api.cluster import DEPLOYMENT, INFERENCE_SERVICE, POD, SERVICE, SERVING_RUNTIME, Ref

ECHO = """
import asyncio, os, sys
async def handle(reader, writer):
    data = await reader.read()
    writer.write(sys.argv[1].encode() + b":" + data)
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(handle, os.environ["POD_IP"], 7000)
    await server.serve_forever()
asyncio.run(main())
"""
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
# SIGTERM and the last new connection race, as on any cluster: a server behind a Service goes on for a moment.
PREDICTOR = """
import http.server, os, signal, sys, threading
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(0.5, os._exit, [0]).start())
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open(sys.argv[2] + "/version").read().encode())
print("serving", sys.argv[1], flush=True)
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


def echo_pod(a_pod, name, answer):
    probe = {"tcpSocket": {"port": "echo"}, "periodSeconds": 1}
    ports = [{"name": "echo", "containerPort": 7000}]
    pod = a_pod(name, ECHO, answer, env=[POD_IP], ports=ports, readinessProbe=probe)
    pod["metadata"]["labels"] = {"role": "echo"}
    return pod


def a_service(name):
    spec = {"selector": {"role": "echo"}, "ports": [{"port": 7100, "targetPort": "echo"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def asked(host, port, text):
    """Return the whole answer of an echo server."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def until_answered(lab, host, port):
    async def is_answered():
        try:
            return await asked(host, port, b"?")
        except OSError:
            return None

    return await lab.until(is_answered)


async def test_service_forwards_to_ready_pods_only(lab, a_pod):
    """A cluster IP refuses while nobody is ready, then carries whole streams both ways, and refuses again."""
    await lab.apply(a_service("echo"))
    host = (await lab.one(SERVICE, "echo"))["spec"]["clusterIP"]
    assert host.startswith("127.100.")
    with pytest.raises(ConnectionRefusedError):
        await asked(host, 7100, b"x")

    await lab.apply(echo_pod(a_pod, "one", "one"))
    await until_answered(lab, host, 7100)
    cargo = b"0123456789abcdef" * 50_000
    assert await asked(host, 7100, cargo) == b"one:" + cargo

    await lab.cluster.delete(Ref(POD, "default", "one"))

    async def is_refused():
        try:
            return not await asked(host, 7100, b"x")
        except ConnectionError:
            return True

    await lab.until(is_refused)


async def test_service_spreads_connections(lab, a_pod):
    """Each connection chooses among the ready pods afresh."""
    await lab.apply(a_service("echo"), echo_pod(a_pod, "one", "one"), echo_pod(a_pod, "two", "two"))
    host = (await lab.one(SERVICE, "echo"))["spec"]["clusterIP"]
    answers = set()

    async def both_answered():
        answers.add(await until_answered(lab, host, 7100))
        return answers == {b"one:?", b"two:?"}

    await lab.until(both_answered)


def a_model(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "version").write_text(name)
    return folder.as_uri()


def an_inference_service(uri):
    predictor = {"minReplicas": 1, "model": {"modelFormat": {"name": "t"}, "runtime": "tiny", "storageUri": uri}}
    metadata = {"name": "mood", "namespace": "default"}
    api_version = INFERENCE_SERVICE.api_version
    return {
        "apiVersion": api_version,
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor},
    }


def a_runtime():
    container = {
        "name": "kserve-container",
        "command": ["python", "-u", "-c", PREDICTOR, "{{.Name}}", "/mnt/models"],
        "env": [POD_IP],
        "readinessProbe": {"httpGet": {"path": "/v2/models/{{.Name}}/ready", "port": 8080}, "periodSeconds": 1},
    }
    metadata = {"name": "tiny", "namespace": "default"}
    api_version = SERVING_RUNTIME.api_version
    return {
        "apiVersion": api_version,
        "kind": "ServingRuntime",
        "metadata": metadata,
        "spec": {"containers": [container]},
    }


async def served(url):
    """Return the model version that answers at *url*."""
    reader, writer = await asyncio.open_connection(url.removeprefix("http://"), 80)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode()


async def test_new_model_replaces_the_old_one_without_a_gap(lab, tmp_path):
    """A new storageUri brings a new pod first; every request in between is answered by the old or the new model."""
    await lab.apply(a_runtime(), an_inference_service(a_model(tmp_path, "v1")))
    isvc = await lab.until_condition(INFERENCE_SERVICE, "mood", "Ready")
    url = isvc["status"]["url"]
    first = next(iter(await lab.pods()))
    assert lab.log(first, "kserve-container").startswith("serving mood\n")
    assert first["metadata"]["labels"]["serving.kserve.io/inferenceservice"] == "mood"
    assert first["metadata"]["labels"]["app"] == "isvc.mood-predictor"

    async def answers():
        try:
            return await served(url)
        except OSError:
            return None

    assert await lab.until(answers) == "v1"
    await lab.cluster.replace(
        Ref(INFERENCE_SERVICE, "default", "mood"),
        "/spec/predictor/model/storageUri",
        old=(tmp_path / "v1").as_uri(),
        new=a_model(tmp_path, "v2"),
        uid=isvc["metadata"]["uid"],
    )
    seen = []

    async def only_new_pods():
        seen.append(await served(url))
        deployment = await lab.one(DEPLOYMENT, "mood-predictor")
        status, template = deployment["status"], deployment["spec"]["template"]
        source = template["metadata"]["annotations"]["internal.serving.kserve.io/storage-initializer-sourceuri"]
        figures = [status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        is_new = source.endswith("v2") and status["observedGeneration"] == deployment["metadata"]["generation"]
        return is_new and figures == [1, 1, 1] and status["terminatingReplicas"] == 0

    await lab.until(only_new_pods)

    assert await served(url) == "v2"
    assert set(seen) <= {"v1", "v2"}
    assert [pod["metadata"]["uid"] for pod in await lab.pods()] != [first["metadata"]["uid"]]


async def test_broken_model_leaves_the_old_one_serving(lab, tmp_path):
    """When the download fails, the old pod stays and going back to the old model removes the broken pod."""
    await lab.apply(a_runtime(), an_inference_service(a_model(tmp_path, "v1")))
    isvc = await lab.until_condition(INFERENCE_SERVICE, "mood", "Ready")
    await lab.apply(an_inference_service((tmp_path / "absent").as_uri()))

    async def download_failed():
        statuses = [pod.get("status", {}).get("initContainerStatuses") or [{}] for pod in await lab.pods()]
        return any(status[0].get("lastState", {}).get("terminated", {}).get("message") for status in statuses)

    await lab.until(download_failed)
    assert await served(isvc["status"]["url"]) == "v1"

    await lab.apply(an_inference_service((tmp_path / "v1").as_uri()))

    async def one_left():
        return len(await lab.pods()) == 1

    await lab.until(one_left)
    assert await served(isvc["status"]["url"]) == "v1"


async def test_deleted_inference_service_leaves_nothing(lab, tmp_path):
    """Deployment, Service and pods go with their InferenceService."""
    await lab.apply(a_runtime(), an_inference_service(a_model(tmp_path, "v1")))
    await lab.until_condition(INFERENCE_SERVICE, "mood", "Ready")

    await lab.cluster.delete(Ref(INFERENCE_SERVICE, "default", "mood"))

    async def nothing_left():
        return [await lab.cluster.list(kind) for kind in (DEPLOYMENT, SERVICE, POD)] == [[], [], []]

    await lab.until(nothing_left)
