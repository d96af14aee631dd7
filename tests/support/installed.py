"""BertJob on a local cluster as an administrator installs it, and tiny jobs for it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.helm import CHART, on
from support.jobs import merge
from support.models import a_model_folder

from bertjob_api import names
from bertjob_cli import credentials
from bertjob_local.parts import LocalCluster
from bertjob_storage import open_storage

SYSTEM = "bertjob-system"
DEPLOYMENT = "deployment/bertjob-operator"
SECRET = "bertjob-storage"
ONE_CPU = {"requests": {"cpu": "1", "memory": "256Mi"}}
"""With more threads than free CPUs each waits for the others."""


@contextmanager
def chart(cluster: LocalCluster) -> Iterator[LocalCluster]:
    """Give *cluster* with the chart installed; the operator logs each of its requests."""
    flags = ("--create-namespace", "--take-ownership", "--wait", "--timeout=90s")
    values = ("--set=operator.logLevel=DEBUG", "--set=operator.progressIntervalSeconds=1")
    on(cluster, "install", "bertjob", str(CHART), f"--namespace={SYSTEM}", *flags, *values)
    try:
        yield cluster
    finally:
        on(cluster, "uninstall", "bertjob", f"--namespace={SYSTEM}", "--wait")


@contextmanager
def installed(cluster: LocalCluster, namespace: str, scratch: Path) -> Iterator[LocalCluster]:
    """Give *cluster* with the chart, and a namespace with storage, model and data; *scratch* is an empty folder."""
    with chart(cluster):
        cluster.kubectl("create", "namespace", namespace)
        put_inputs(cluster, namespace, scratch)
        put_secret(cluster, namespace)
        yield cluster
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def operator_log(cluster: LocalCluster, *, previous: bool = False) -> list[dict[str, Any]]:
    """Return the operator's messages, of its container's run before this one if *previous*."""
    words = ("--previous",) if previous else ()
    text = cluster.kubectl("logs", f"--namespace={SYSTEM}", DEPLOYMENT, *words)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def operator_pid(cluster: LocalCluster) -> int:
    """Return the process of the operator's one pod."""
    selector = "--selector=app.kubernetes.io/name=bertjob-operator"
    uid = cluster.kubectl(
        "get", "pods", f"--namespace={SYSTEM}", selector, "--output=jsonpath={.items[*].metadata.uid}"
    )
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"bertjob_operator"] and uid.encode() in (folder / "environ").read_bytes():
                return int(folder.name)
        except OSError:  # ended meanwhile
            continue
    raise AssertionError(f"pod {uid} has no process of the operator")


def prefix_of(namespace: str) -> str:
    """Return where the jobs of *namespace* keep everything."""
    return f"s3://bertjob/{namespace}"


def put_inputs(cluster: LocalCluster, namespace: str, scratch: Path) -> None:
    """Store a tiny model with random weights, and examples that it can learn, below the prefix of *namespace*."""
    prefix, storage = prefix_of(namespace), open_storage("s3://", dict(os.environ) | cluster.env())
    scratch.mkdir(exist_ok=True)
    for path in a_model_folder(scratch).iterdir():
        storage.upload(f"{prefix}/tiny/{path.name}", path)
    rows = [{"text": f"the cat {word} {verb}", "label": word} for word in ("good", "bad") for verb in ("sat", "ran")]
    for name, count in (("train", 16), ("validation", 4)):
        text = "".join(json.dumps(row) + "\n" for row in rows * count)
        storage.put(f"{prefix}/data/{name}.jsonl", text.encode())


def put_secret(cluster: LocalCluster, namespace: str) -> None:
    """Make the Secret by which the job's pods, and KServe's downloader, reach S3."""
    manifest = credentials.secret(SECRET, namespace, env=cluster.env())
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))


def a_tiny_job(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """Return a BertJob that trains for seconds and whose gate lets anything pass; *spec* is merged in, None removes."""
    job: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"source": "storage://tiny", "task": "sequence-classification"},
            "data": {
                "train": "storage://data/train.jsonl",
                "validation": "storage://data/validation.jsonl",
                "maxSequenceLength": 16,
            },
            "training": {
                "epochs": 20,
                "batchSize": 16,
                "learningRate": 0.01,
                "dropout": 0,
                "checkpoint": {"every": "20 steps"},
                "resources": ONE_CPU,
            },
            "optimize": {"methods": ["dynamic"], "engines": ["openvino"], "resources": ONE_CPU},
            "gate": {"maxAccuracyDrop": 1, "sizeOnly": True, "minSpeedup": 0, "maxSizeRatio": 10},
            "storage": {"prefix": prefix_of(namespace), "secretRef": {"name": SECRET}},
        },
    }
    merge(job["spec"], spec)
    return job
