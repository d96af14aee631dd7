"""Service account tokens from a real API server. Source: Kubernetes API reference, "TokenRequest"."""

from collections.abc import Mapping
from typing import Any

from bertjob_api.cluster import Object
from bertjob_local.kubelet.volumes import Tokens
from bertjob_operator.runtime.http import HttpCluster

_LIFETIME_S = 24 * 3600
"""Tokens are written once, so they live as long as a pod here does."""


def from_api(cluster: HttpCluster) -> Tokens:
    """Return the function that asks *cluster* for a token bound to a pod."""

    async def token(pod: Object, source: Mapping[str, Any]) -> str | None:
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName", "default")
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {
            "audiences": [source["audience"]] if source.get("audience") else [],
            "expirationSeconds": max(_LIFETIME_S, source.get("expirationSeconds", 0)),
            "boundObjectRef": bound,
        }
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        answer = await cluster.request("POST", path, body=body)
        return str(answer["status"]["token"])

    return token
