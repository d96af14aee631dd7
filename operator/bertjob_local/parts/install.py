"""
Create KServe's rendered manifests: CRDs, then, once they are served, the objects of their kinds.

Run as ``python -m bertjob_local.parts.install KUBECONFIG MANIFESTS``. Requests are made here and not by kubectl,
which would take seconds to learn what the server can do before each of two calls.
"""

import base64
import http.client
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Manifest = dict[str, Any]

_SERVED_TIMEOUT_S = 60.0
_POLL_S = 0.05

_PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ClusterStorageContainer": "clusterstoragecontainers",
    "ConfigMap": "configmaps",
    "CustomResourceDefinition": "customresourcedefinitions",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "Namespace": "namespaces",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ServiceAccount": "serviceaccounts",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}


class Server:
    """One connection to the API server as the kubeconfig's user."""

    def __init__(self, kubeconfig: dict[str, Any]) -> None:
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        target = urlsplit(cluster["server"])
        assert target.hostname is not None, f"a server without a host: {cluster['server']}"
        trust = ssl.create_default_context(cadata=ca)
        self._connection = http.client.HTTPSConnection(target.hostname, target.port, timeout=60, context=trust)
        self._authorization = f"Bearer {user['token']}"

    def request(self, method: str, path: str, *, body: Manifest | None = None) -> tuple[int, dict[str, Any]]:
        """Return status code and decoded body."""
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        self._connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        answer = self._connection.getresponse()
        text = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else {"message": text.decode(errors="replace")}


def path_of(manifest: Manifest) -> str:
    """Return the API path at which an object of this kind and namespace is created."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{namespace}/{_PLURALS[kind]}"


def served_resources(crd: Manifest) -> set[tuple[str, str]]:
    """Return (discovery path, plural) of each version that a CRD serves."""
    spec = crd["spec"]
    versions = [version["name"] for version in spec["versions"] if version["served"]]
    return {(f"/apis/{spec['group']}/{version}", spec["names"]["plural"]) for version in versions}


def create(server: Server, manifest: Manifest) -> None:
    """Create one object; RuntimeError when it is refused."""
    path, name = path_of(manifest), manifest["metadata"]["name"]
    status, answer = server.request("POST", path, body=manifest)
    if status != http.client.CREATED:
        msg = f"POST {path}, {name}: got {status}, expected 201: {answer.get('message')}"
        raise RuntimeError(msg)


def in_order(manifests: list[Manifest]) -> tuple[list[Manifest], list[Manifest]]:
    """
    Return the CRDs and all objects of built-in kinds, then the objects of the CRDs' kinds.

    The largest CRD comes first: the server works for seconds before it serves it.

    """
    kinds = {each["spec"]["names"]["kind"] for each in manifests if each["kind"] == "CustomResourceDefinition"}
    custom = [each for each in manifests if each["kind"] in kinds]
    rest = [each for each in manifests if each["kind"] not in kinds]
    return sorted(rest, key=_urgency), custom


def _urgency(manifest: Manifest) -> tuple[int, int]:
    """Return a sort key: namespaces, CRDs by falling size, everything else."""
    kind = manifest["kind"]
    rank = {"Namespace": 0, "CustomResourceDefinition": 1}.get(kind, 2)
    return rank, -len(json.dumps(manifest)) if rank == 1 else 0


def wait_until_served(server: Server, wanted: set[tuple[str, str]]) -> None:
    """Return once discovery names every resource; RuntimeError when it takes too long."""
    deadline = time.monotonic() + _SERVED_TIMEOUT_S
    while lacking := wanted - _served(server, {path for path, _ in wanted}):
        if time.monotonic() > deadline:
            msg = f"not served after {_SERVED_TIMEOUT_S:.0f} s: {sorted(lacking)}"
            raise RuntimeError(msg)
        time.sleep(_POLL_S)


def _served(server: Server, paths: set[str]) -> set[tuple[str, str]]:
    found = set()
    for path in paths:
        status, answer = server.request("GET", path)
        if status == http.client.OK:
            found |= {(path, resource["name"]) for resource in answer["resources"]}
    return found


def main() -> None:
    """Create the manifests in a file."""
    _, kubeconfig, manifests = sys.argv
    server = Server(yaml.safe_load(Path(kubeconfig).read_text()))
    builtin, custom = in_order(json.loads(Path(manifests).read_text()))
    for manifest in builtin:
        create(server, manifest)
    crds = [each for each in builtin if each["kind"] == "CustomResourceDefinition"]
    wait_until_served(server, {each for crd in crds for each in served_resources(crd)})
    for manifest in custom:
        create(server, manifest)


if __name__ == "__main__":
    main()
