"""
Kueue beside a local cluster: its own chart's objects, and its manager as a process on loopback.

Its certificates are made here, because it keeps those that it finds in its Secret if they are good, and ``127.0.0.1`` is in
none that it would make itself.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.helm import helm
from support.s3_gateway import free_port

from bertjob_local import binaries
from bertjob_local.binaries import toolchain
from bertjob_local.parts import LocalCluster

NAMESPACE = "kueue-system"
MANAGER = "kueue-manager"
CHART = "charts/kueue"
HOST = f"kueue-webhook-service.{NAMESPACE}.svc"
DROPPED = ("Deployment", "Service", "Secret", "APIService", "ServiceMonitor", "Certificate", "Issuer")
PATIENCE_S = 120.0

Manifest = dict[str, Any]


def need() -> None:
    """Build Kueue if nothing has (4 minutes); where it cannot be built skip the test, or fail it if clusters are required."""
    if binaries.locate(MANAGER) is not None and binaries.locate_data(CHART) is not None:
        return
    try:
        binaries.build((MANAGER,), say=print)
    except (binaries.BuildError, toolchain.ToolchainError) as error:
        if os.environ.get("BERTJOB_REQUIRE_CLUSTER") == "1":
            raise
        pytest.skip(f"{MANAGER} cannot be built: {error}")


@contextmanager
def running(cluster: LocalCluster, folder: Path) -> Iterator[None]:
    """Keep Kueue running on *cluster*; its log and keys are in *folder*."""
    port, health = free_port(), free_port()
    _make_certificates(folder)
    _install(cluster, url=f"https://127.0.0.1:{port}", folder=folder)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(_configuration(folder, port=port, health=health)))
    manager = binaries.locate(MANAGER)
    assert manager is not None, "need() comes first"
    argv = (str(manager), f"--config={config}", "--feature-gates=VisibilityOnDemand=false")
    env = os.environ | {"KUBECONFIG": str(cluster.layout.kubeconfig)}
    with (folder / "kueue.log").open("wb") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        try:
            _wait(cluster, process, folder)
            yield
        finally:
            process.kill()  # asked politely it waits for leases that nobody else wants
            process.wait()


def _configuration(folder: Path, *, port: int, health: int) -> Manifest:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"port": port, "host": "127.0.0.1", "certDir": str(folder)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": True},
        "integrations": {"frameworks": ["batch/job"]},
    }


def _make_certificates(folder: Path) -> None:
    """Write ca.crt, ca.key, tls.crt and tls.key; the names in them are those that Kueue looks for."""
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectAltName=DNS:kueue-ca")
    served = ("-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1", "-addext", "extendedKeyUsage=serverAuth")
    leaf = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    for name, more in (("ca", usage), ("tls", (*leaf, *served))):
        # The one form in which Kueue reads the CA's key.
        _openssl(folder, "genrsa", "-traditional", "-out", f"{name}.key", "2048")
        made = ("-key", f"{name}.key", "-out", f"{name}.crt", "-days", "365", "-subj", f"/CN=kueue-{name}")
        _openssl(folder, "req", "-x509", *made, *more)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)


def _install(cluster: LocalCluster, *, url: str, folder: Path) -> None:
    chart = binaries.locate_data(CHART)
    assert chart is not None, "need() comes first"
    text = helm("template", "kueue", str(chart), f"--namespace={NAMESPACE}", f"--kube-version={_version()}")
    manifests = [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]
    bundle = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
    kept = [_by_url(each, url, bundle) for each in manifests if each["kind"] not in DROPPED]
    names = ("ca.crt", "ca.key", "tls.crt", "tls.key")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "kueue-webhook-server-cert", "namespace": NAMESPACE},
        "data": {name: base64.b64encode((folder / name).read_bytes()).decode() for name in names},
    }
    # Until the manager runs its webhooks would refuse everything, so they come last.
    hooks = [each for each in kept if each["kind"].endswith("WebhookConfiguration")]
    first = [each for each in kept if each not in hooks]
    cluster.kubectl("create", "namespace", NAMESPACE)
    for part in ([*first, secret], hooks):
        listed = {"apiVersion": "v1", "kind": "List", "items": part}
        cluster.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(listed))


def _version() -> str:
    return "v1.36.0"


def _by_url(value: Any, url: str, bundle: str) -> Any:
    """Return *value* with each webhook's Service replaced by an address."""
    if isinstance(value, list):
        return [_by_url(each, url, bundle) for each in value]
    if not isinstance(value, dict):
        return value
    if "service" in value and "path" in (value["service"] or {}):
        return {"url": f"{url}{value['service']['path']}", "caBundle": bundle}
    return {key: _by_url(each, url, bundle) for key, each in value.items()}


def _wait(cluster: LocalCluster, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a quota can be made: its webhook answers."""
    deadline = time.monotonic() + PATIENCE_S
    flavor = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "default"}}
    while (said := _refusal(cluster, flavor)) is not None:
        log = (folder / "kueue.log").read_text()[-3000:]
        assert process.poll() is None, f"Kueue ended {process.returncode}: {log}"
        assert time.monotonic() < deadline, f"Kueue does not answer: {said}\n{log}"
        time.sleep(0.5)


def _refusal(cluster: LocalCluster, manifest: Manifest) -> str | None:
    """Apply *manifest*; return why it was refused, or None."""
    try:
        cluster.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return None


def quota(cluster: LocalCluster, namespace: str, *, cpu: str, queue: str = "team") -> None:
    """Give *namespace* a LocalQueue with so many CPUs and much memory; higher priority may take them from lower."""
    resources = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "100Gi"}]
    flavor = {"name": "default", "resources": resources}
    spec = {
        "namespaceSelector": {},
        "resourceGroups": [{"coveredResources": ["cpu", "memory"], "flavors": [flavor]}],
        "preemption": {"withinClusterQueue": "LowerPriority"},
    }
    api = "kueue.x-k8s.io/v1beta2"
    name = f"{namespace}-{queue}"
    objects = [
        {"apiVersion": api, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": api,
            "kind": "LocalQueue",
            "metadata": {"name": queue, "namespace": namespace},
            "spec": {"clusterQueue": name},
        },
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(listed))
