"""A Node on a loopback address: what the API server accepts of it, and how it reaches its kubelet."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bertjob_local.parts import LocalCluster

pytestmark = pytest.mark.cluster

ADDRESS = "127.0.0.9"
LINE = b"hello from a container\n"


class _Logs(BaseHTTPRequestHandler):
    """The one path of a kubelet that ``kubectl logs`` asks for."""

    def do_GET(self) -> None:
        found = self.path.startswith("/containerLogs/default/talker/main")
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(LINE if found else b"")

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def _kubelet(cluster: LocalCluster) -> Iterator[int]:
    """Give the port of a TLS server with the certificate made for kubelets, which demands one of its clients."""
    folder = cluster.layout.kubelet
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "serving.crt", folder / "serving.key")
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer((ADDRESS, 0), _Logs) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def test_logs_come_from_a_loopback_address(real_api: LocalCluster):
    """Kubectl logs reaches a kubelet on 127.0.0.x over TLS that is checked on both sides."""
    with _kubelet(real_api) as port:
        _create(real_api, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n9"}})
        status = {
            "addresses": [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": "n9"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        _patch_status(real_api, "node/n9", status)
        container = {"name": "main", "image": "x", "command": ["true"]}
        spec = {"nodeName": "n9", "containers": [container], "automountServiceAccountToken": False}
        _create(real_api, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talker"}, "spec": spec})
        _patch_status(real_api, "pod/talker", {"podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}], "phase": "Running"})

        assert real_api.kubectl("logs", "talker").encode() == LINE


def _create(cluster: LocalCluster, manifest: dict[str, object]) -> None:
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))


def _patch_status(cluster: LocalCluster, what: str, status: dict[str, object]) -> None:
    cluster.kubectl("patch", what, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def test_services_get_loopback_addresses(real_api: LocalCluster, make_namespace: Callable[[LocalCluster], str]):
    """A Service's cluster IP lies on loopback, where a proxy without root can listen."""
    namespace = make_namespace(real_api)
    real_api.kubectl("create", "-n", namespace, "service", "clusterip", "s", "--tcp=80")

    address = real_api.kubectl("get", "-n", namespace, "service", "s", "-o", "jsonpath={.spec.clusterIP}")
    assert address.startswith("127.100.")
