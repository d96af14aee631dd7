"""The kubeconfig files of one cluster."""

import base64
from pathlib import Path
from typing import Any

import yaml

CONTEXT = "bertjob-local"


def kubeconfig(server: str, *, ca: bytes, user: str, token: str) -> dict[str, Any]:
    """Return a kubeconfig with one cluster, one user and one context; it holds a secret."""
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
        "current-context": CONTEXT,
    }


def write(config: dict[str, Any], path: Path) -> None:
    """Write a kubeconfig that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
