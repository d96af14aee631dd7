"""
Render KServe's own chart for a manager that runs as a process: webhooks by address, no pods of its own.

Run as ``python -m bertjob_local.parts.kserve``.
"""

import argparse
import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from bertjob_local.parts.pki import KSERVE_NAMESPACE

Manifest = dict[str, Any]

# Plain Deployments, no gateway, no ingress objects: what a cluster without either can run.
HELM_VALUES = (
    "kserve.controller.deploymentMode=Standard",
    "kserve.controller.gateway.disableIstioVirtualHost=true",
    "kserve.controller.gateway.disableIngressCreation=true",
)

_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_KEPT = (
    "CustomResourceDefinition",
    "ConfigMap",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterStorageContainer",
    *_WEBHOOKS,
)


def helm_argv(helm: str, *, chart: Path, values: tuple[str, ...] = ()) -> list[str]:
    """Return the command that prints a chart's manifests."""
    sets = (word for value in values for word in ("--set", value))
    return [helm, "template", chart.name, str(chart), "--namespace", KSERVE_NAMESPACE, *sets]


def for_a_process(manifests: Iterable[Manifest], *, webhook_url: str, ca: bytes) -> list[Manifest]:
    """
    Return the manifests to apply, the namespace first.

    Args:
        manifests: everything in the chart.
        webhook_url: scheme, host and port at which the manager serves its webhooks.
        ca: certificate, PEM, that the API server trusts for them.

    """
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KSERVE_NAMESPACE}}
    kept = [each for each in manifests if each["kind"] in _KEPT]
    bundle = base64.b64encode(ca).decode()
    return [namespace, *(_by_url(each, webhook_url, bundle) if each["kind"] in _WEBHOOKS else each for each in kept)]


def _by_url(configuration: Manifest, webhook_url: str, bundle: str) -> Manifest:
    """Return a webhook configuration that names an address in place of a Service."""
    webhooks = []
    for webhook in configuration["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        webhooks.append(webhook | {"clientConfig": {"url": f"{webhook_url}{path}", "caBundle": bundle}})
    return configuration | {"webhooks": webhooks}


def rendered(helm: str, *, charts: Path) -> list[Manifest]:
    """Return the manifests of both charts; rendered once, because that takes seconds of CPU, and kept beside them."""
    kept = charts.parent / f"rendered-{hashlib.sha256(repr(HELM_VALUES).encode()).hexdigest()[:12]}.json"
    if not kept.exists():
        crds = _manifests(helm_argv(helm, chart=charts / "kserve-crd"))
        everything = _manifests(helm_argv(helm, chart=charts / "kserve-resources", values=HELM_VALUES))
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps([*crds, *everything]))
        fresh.replace(kept)
    found: list[Manifest] = json.loads(kept.read_text())
    return found


def main() -> None:
    """Write one JSON list of manifests: CRDs and everything else."""
    parser = argparse.ArgumentParser(prog="python -m bertjob_local.parts.kserve")
    for option in ("--helm", "--charts", "--webhook-url", "--ca", "--to"):
        parser.add_argument(option, required=True)
    given = parser.parse_args()
    everything = rendered(given.helm, charts=Path(given.charts))
    manifests = for_a_process(everything, webhook_url=given.webhook_url, ca=Path(given.ca).read_bytes())
    Path(given.to).write_text(json.dumps(manifests))


def _manifests(argv: list[str]) -> list[Manifest]:
    printed = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [each for each in yaml.load_all(printed, Loader=yaml.CSafeLoader) if each]


if __name__ == "__main__":
    main()
