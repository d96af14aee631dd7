"""A job that trains for a minute on a cluster of real parts, ways to disturb it, and the proof that nothing was lost."""

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support.installed import a_tiny_job, prefix_of

from bertjob_api import names
from bertjob_local.parts import LocalCluster
from bertjob_storage import open_storage
from bertjob_trainer import ledger_files
from bertjob_trainer.order import Order

EPOCHS, BATCH, SAMPLES, MICRO_BATCH = 800, 16, 64, 2
PATIENCE_S = 300.0


class Run:
    """A job in training, and the ways to disturb it."""

    def __init__(self, cluster: LocalCluster, namespace: str, name: str, *, epochs: int = EPOCHS, **spec: Any) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        self.epochs = epochs
        self.steps = epochs * SAMPLES // BATCH
        training = {"epochs": epochs, "microBatchSize": MICRO_BATCH, "checkpoint": {"every": "200 steps"}}
        training |= spec.pop("training", {})
        job = a_tiny_job(namespace, name, training=training, optimize=None, gate=None, **spec)
        cluster.kubectl("apply", "--filename=-", stdin=json.dumps(job))

    def kubectl(self, *words: str) -> str:
        """Run kubectl in the job's namespace."""
        return self.cluster.kubectl(*words, f"--namespace={self.namespace}")

    @property
    def status(self) -> dict[str, Any]:
        """Return the job's status."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "bertjob", self.name, "--output=json")).get("status", {})
        return found

    def moved_on(self, *, by: int = 20) -> None:
        """Wait until so many more steps are done, or all."""
        start = (self.status.get("training") or {}).get("step") or 0
        eventually(lambda: ((self.status.get("training") or {}).get("step") or 0) >= min(self.steps, start + by))

    def pids(self, module: str) -> list[int]:
        """Return the processes of the job's pods that run a Python module."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                env = (folder / "environ").read_bytes()
            except OSError:  # ended meanwhile
                continue
            if module.encode() in words and f"{names.POD_NAME_ENV}={self.name}-".encode() in env:
                found.append(int(folder.name))
        return sorted(found)

    def signal(self, module: str, number: signal.Signals) -> None:
        """Send a signal to the oldest process of the job's pods that runs a module: newer workers may be spare ones."""
        os.kill(eventually(lambda: self.pids(module))[0], number)

    def scaled(self, replicas: int) -> None:
        """Scale, and wait until so many nodes train together."""
        self.kubectl("scale", "bertjob", self.name, f"--replicas={replicas}")
        eventually(lambda: replicas in [seen.get("worldSize") for seen in self.progress()])

    def progress(self) -> list[dict[str, Any]]:
        """Return what each training pod that answers tells of its progress."""
        found = []
        for pod in self.pods():
            url = f"http://{pod['status'].get('podIP')}:{names.PROGRESS_PORT}/progress"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # a pod's
                found.append(json.load(answer))
        return found

    def pods(self) -> list[dict[str, Any]]:
        """Return the training pods that run."""
        selector = f"{names.JOB_LABEL}={self.name},{names.COMPONENT_LABEL}={names.TRAIN}"
        pods = json.loads(self.kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
        return [pod for pod in pods if pod["status"].get("phase") == "Running"]


def _is_over(run: Run) -> bool:
    done = (run.status.get("training") or {}).get("step") == run.steps
    return bool(eventually(lambda: _ends(run))) if done else bool(_ends(run))


def _ends(run: Run) -> set[str]:
    return {item["type"] for item in run.status["conditions"] if item["status"] == "True"} & {"Succeeded", "Failed"}


def eventually(condition: Callable[[], Any]) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, "did not hold in time"
        time.sleep(0.5)
    return answer


def assert_unharmed(run: Run) -> set[int]:
    """Assert that the job succeeded and that its model has trained on each sample as an undisturbed run does; return its worlds."""
    while not _is_over(run):
        run.moved_on()
    assert [item["type"] for item in run.status["conditions"] if item["status"] == "True"][-1:] != ["Failed"], (
        run.status
    )
    assert run.status["training"]["step"] == run.steps
    storage = open_storage("s3://", dict(os.environ) | run.cluster.env())
    uri = f"{prefix_of(run.namespace)}/jobs/{run.namespace}/{run.name}"
    found = ledger_files.read(storage, ledger_files.find(storage, uri))
    # All texts have the same length, and the seed is the default.
    lengths = np.full(SAMPLES, 6, dtype=np.int64)
    order = Order(seed=42, epochs=run.epochs, batch_size=BATCH, micro_batch_size=MICRO_BATCH, lengths=lengths)
    planned = [tuple(np.concatenate(order.micro_batches(step)).tolist()) for step in range(run.steps)]
    assert [entry.ids for entry in found] == planned
    assert all(entry.is_proven for entry in found)
    return {entry.world for entry in found}
