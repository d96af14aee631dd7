"""
Everything that can be lost is lost, on a cluster of real parts: the run ends well, on exactly the samples of an undisturbed one.

Each disturbance waits until training has moved on since the one before, so each hits a run that is under way.
"""

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import support.installed
from support.installed import a_tiny_job, operator_pid, prefix_of

from bertjob_api import names
from bertjob_local.parts import LocalCluster
from bertjob_storage import open_storage
from bertjob_trainer import ledger_files
from bertjob_trainer.order import Order

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

NAMESPACE = "chaos-jobs"
EPOCHS, BATCH, SAMPLES = 1200, 16, 64
STEPS = EPOCHS * SAMPLES // BATCH
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def installed(local_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give the local cluster with the chart, and a namespace with storage, model and data."""
    with support.installed.installed(local_cluster, NAMESPACE, tmp_path_factory.mktemp("inputs")) as cluster:
        yield cluster


class Run:
    """A job in training, and the ways to disturb it."""

    def __init__(self, cluster: LocalCluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        training = {"epochs": EPOCHS, "replicas": 2, "elastic": {"min": 1, "max": 6}, "microBatchSize": 2}
        training |= {"checkpoint": {"every": "200 steps"}}
        job = a_tiny_job(NAMESPACE, name, training=training, optimize=None, gate=None)
        cluster.kubectl("apply", "--filename=-", stdin=json.dumps(job))

    def kubectl(self, *words: str) -> str:
        """Run kubectl in the job's namespace."""
        return self.cluster.kubectl(*words, f"--namespace={NAMESPACE}")

    @property
    def status(self) -> dict[str, Any]:
        """Return the job's status."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "bertjob", self.name, "--output=json")).get("status", {})
        return found

    def moved_on(self, *, by: int = 20) -> None:
        """Wait until so many more steps are done, or all."""
        start = (self.status.get("training") or {}).get("step") or 0
        eventually(lambda: ((self.status.get("training") or {}).get("step") or 0) >= min(STEPS, start + by))

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


def eventually(condition: Callable[[], Any]) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, "did not hold in time"
        time.sleep(0.5)
    return answer


def assert_unharmed(run: Run) -> set[int]:
    """Assert that the job succeeded and that its model has trained on each sample as an undisturbed run does; return its worlds."""
    eventually(
        lambda: (
            {item["type"] for item in run.status["conditions"] if item["status"] == "True"} & {"Succeeded", "Failed"}
        )
    )
    assert [item["type"] for item in run.status["conditions"] if item["status"] == "True"][-1:] != ["Failed"], (
        run.status
    )
    assert run.status["training"]["step"] == STEPS
    storage = open_storage("s3://", dict(os.environ) | run.cluster.env())
    uri = f"{prefix_of(NAMESPACE)}/jobs/{NAMESPACE}/{run.name}"
    found = ledger_files.read(storage, ledger_files.find(storage, uri))
    # All texts have the same length, and the seed is the default.
    lengths = np.full(SAMPLES, 6, dtype=np.int64)
    order = Order(seed=42, epochs=EPOCHS, batch_size=BATCH, micro_batch_size=2, lengths=lengths)
    planned = [tuple(np.concatenate(order.micro_batches(step)).tolist()) for step in range(STEPS)]
    assert [entry.ids for entry in found] == planned
    assert all(entry.is_proven for entry in found)
    return {entry.world for entry in found}


def test_processes_die(installed: LocalCluster) -> None:
    """Worker, launcher, supervisor, rendezvous store, operator and S3 are killed, and a worker hangs: nothing is lost."""
    run = Run(installed, "processes")
    eventually(lambda: run.pids("bertjob_trainer.worker"))
    run.moved_on()
    run.signal("bertjob_trainer.worker", signal.SIGKILL)
    run.moved_on()
    run.signal("bertjob_trainer.store", signal.SIGKILL)
    run.signal("bertjob_trainer.worker", signal.SIGSTOP)
    run.moved_on()
    installed.kill("s3")
    run.moved_on()
    installed.start("s3")
    run.signal("bertjob_trainer.launcher", signal.SIGKILL)
    os.kill(operator_pid(installed), signal.SIGKILL)
    run.moved_on()
    run.signal("bertjob_trainer.supervisor", signal.SIGKILL)
    assert_unharmed(run)


def test_objects_change(installed: LocalCluster) -> None:
    """The job is scaled up and down, suspended and resumed, a pod evicted and its Job deleted: nothing is lost."""
    run = Run(installed, "objects")
    eventually(lambda: run.pids("bertjob_trainer.worker"))
    run.moved_on()
    for replicas in (4, 2, 6, 2):
        run.scaled(replicas)
    for suspend in ("true", "false"):
        run.kubectl("patch", "bertjob", run.name, "--type=merge", f'--patch={{"spec":{{"suspend":{suspend}}}}}')
        if suspend == "true":
            eventually(lambda: not run.pids("bertjob_trainer.worker"))
    run.moved_on()
    run.signal("bertjob_trainer.supervisor", signal.SIGTERM)
    run.moved_on()
    selector = f"{names.JOB_LABEL}={run.name},{names.COMPONENT_LABEL}={names.TRAIN}"
    run.kubectl("delete", "job", f"--selector={selector}", "--wait=false")
    assert assert_unharmed(run) >= {2, 4, 6}


def test_a_node_is_lost_with_operator_and_storage(installed: LocalCluster) -> None:
    """A whole Node, the operator and S3 go within a second, and a worker right after: nothing is lost, and the Node comes back."""
    run = Run(installed, "together")
    eventually(lambda: [each for each in run.progress() if each.get("worldSize") == 2])
    run.moved_on()
    node = run.pods()[0]["spec"]["nodeName"]
    mark = installed.layout.kubelet / "lost" / node
    mark.parent.mkdir(exist_ok=True)
    os.kill(operator_pid(installed), signal.SIGKILL)
    mark.touch()
    installed.kill("s3")
    run.moved_on()
    run.signal("bertjob_trainer.worker", signal.SIGKILL)
    installed.start("s3")
    run.moved_on()
    mark.unlink()
    installed.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=60s")
    assert_unharmed(run)
