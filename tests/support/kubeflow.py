"""Kubeflow Trainer beside a local cluster: its manager, and the JobSet controller that it needs, as processes on loopback."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from support.s3_gateway import free_port

from bertjob_api.cluster import Kind, Object
from bertjob_local import binaries
from bertjob_local.parts import LocalCluster

TRAIN_JOB: Final = Kind("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs")
JOB_SET: Final = Kind("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets")
TRAINER, JOB_SETS = "trainer-controller-manager", "jobset-manager"
PATIENCE_S: Final = 60.0

Manifest = dict[str, Any]


def need() -> None:
    """Build both managers if nothing has (5 minutes); BuildError where they cannot be built."""
    binaries.build((TRAINER, JOB_SETS), say=print)


def install(cluster: LocalCluster) -> int:
    """Make *cluster* know TrainJobs, JobSets and one runtime, and return the port at which it asks for JobSets' defaults."""
    port = free_port()
    found = [*_manifests("manifests/base", "crds"), *_manifests("config/components/crd/bases")]
    crds = [each for each in found if each["kind"] == "CustomResourceDefinition"]
    _apply(cluster, crds)
    for each in crds:
        name = each["metadata"]["name"]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{name}")
    ca = base64.b64encode((cluster.layout.pki / "ca.crt").read_bytes()).decode()
    hooks = [each for each in _manifests("config/components/webhook") if each["kind"].endswith("WebhookConfiguration")]
    # Trainer's own webhooks check what a user writes: without them its jobs only begin sooner.
    _apply(cluster, [_RUNTIME, *(_by_url(each, f"https://127.0.0.1:{port}", ca) for each in hooks)])
    return port


@contextmanager
def running(cluster: LocalCluster, folder: Path, *, port: int) -> Iterator[list[int]]:
    """Run both managers with the limits that they are shipped with, and give their pids; logs are in *folder*."""
    health = free_port(), free_port()
    configs = {
        TRAINER: _configuration("config.trainer.kubeflow.org/v1alpha1", port=free_port(), health=health[0])
        | {"certManagement": {"enable": False}, "controller": {"groupKindConcurrency": _CONCURRENCY}},
        JOB_SETS: _configuration("config.jobset.x-k8s.io/v1alpha1", port=port, health=health[1])
        | {"internalCertManagement": {"enable": False}},
    }
    with ExitStack() as stack:
        started = [stack.enter_context(_started(cluster, folder, name, config)) for name, config in configs.items()]
        for process, at, name in zip(started, health, configs, strict=True):
            _wait(process, at, log=folder / f"{name}.log")
        yield [each.pid for each in started]


def train_job(name: str, *, nodes: int) -> Object:
    """Return a TrainJob of so many pods."""
    reference = {"apiGroup": TRAIN_JOB.group, "kind": "ClusterTrainingRuntime", "name": _RUNTIME["metadata"]["name"]}
    return {
        "apiVersion": TRAIN_JOB.api_version,
        "kind": TRAIN_JOB.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"runtimeRef": reference, "trainer": {"numNodes": nodes}},
    }


def batch_job_of(name: str) -> str:
    """Return the name of the batch/v1 Job that a TrainJob ends up as."""
    return f"{name}-node-0"


_CONCURRENCY: Final = {"TrainJob.trainer.kubeflow.org": 5}
"""As in Trainer's own manifests; its client's 50 requests in a second are its default."""

_RUNTIME: Final[Manifest] = {
    "apiVersion": TRAIN_JOB.api_version,
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "node",
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {
                                "template": {"spec": {"containers": [{"name": "node", "image": "pytorch/pytorch"}]}}
                            },
                        },
                    }
                ]
            }
        },
    },
}
"""Trainer's own ``torch-distributed``."""


def _manifests(data: str, below: str = "") -> list[Manifest]:
    folder = binaries.locate_data(data)
    assert folder is not None, "need() comes first"
    texts = [path.read_text() for path in sorted((folder / below).glob("*.yaml"))]
    return [each for text in texts for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each and "kind" in each]


def _apply(cluster: LocalCluster, manifests: list[Manifest]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(listed))


def _by_url(configuration: Manifest, url: str, bundle: str) -> Manifest:
    """Return a configuration that names an address in place of a Service, for JobSets alone: pods are not its business here."""
    kept = [each for each in configuration["webhooks"] if "jobset" in each["clientConfig"]["service"]["path"]]
    hooks = [
        {**each, "clientConfig": {"url": f"{url}{each['clientConfig']['service']['path']}", "caBundle": bundle}}
        for each in kept
    ]
    name = f"jobset-{configuration['metadata']['name']}"
    return {**configuration, "metadata": {"name": name}, "webhooks": hooks}


def _configuration(api_version: str, *, port: int, health: int) -> Manifest:
    return {
        "apiVersion": api_version,
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"port": port, "host": "127.0.0.1"},
        "leaderElection": {"leaderElect": False},
    }


@contextmanager
def _started(cluster: LocalCluster, folder: Path, name: str, config: Manifest) -> Iterator[subprocess.Popen[bytes]]:
    """Run one manager; it looks for its certificate below its temporary folder."""
    certificates = folder / name / "k8s-webhook-server" / "serving-certs"
    certificates.mkdir(parents=True, exist_ok=True)
    for kind in ("crt", "key"):
        shutil.copyfile(cluster.layout.pki / f"serving.{kind}", certificates / f"tls.{kind}")
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    manager = binaries.locate(name)
    assert manager is not None, "need() comes first"
    env = os.environ | {"KUBECONFIG": str(cluster.layout.kubeconfig), "TMPDIR": str(folder / name)}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen((str(manager), f"--config={path}"), env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, *, log: Path) -> None:
    """Wait until a manager says that it is ready."""
    deadline = time.monotonic() + PATIENCE_S
    while not _is_ready(port):
        assert process.poll() is None, f"{log.stem} ended {process.returncode}: {log.read_text()[-3000:]}"
        assert time.monotonic() < deadline, f"{log.stem} is not ready: {log.read_text()[-3000:]}"
        time.sleep(0.2)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
