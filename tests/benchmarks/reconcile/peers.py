"""Other operators on the same API server: Kubeflow Trainer's, and one written with kopf."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.reconcile.ceiling import PODS
from support import kubeflow
from support.jobs import a_job
from support.wrapped import Wrapped

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, Kind, Object, Ref
from bertjob_local.parts import LocalCluster

KOPF_OPERATOR: Final = Path(__file__).parent / "kopf_operator.py"


class Peer(Protocol):
    """An operator in processes of its own."""

    name: str
    kind: Kind
    """Of what its user creates."""

    def running(self) -> AbstractContextManager[list[int]]:
        """Give the pids of a fresh one."""
        ...

    def job(self, name: str) -> Object:
        """Return what its user creates."""
        ...

    def last_of(self, name: str) -> str:
        """Return the name of the batch/v1 Job that is the last object it makes for a job."""
        ...


@dataclass
class Trainer:
    """Kubeflow Trainer and the JobSet controller."""

    cluster: LocalCluster
    folder: Path
    name: str = "Kubeflow Trainer"
    kind: Kind = kubeflow.TRAIN_JOB
    _port: int = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._port = kubeflow.install(self.cluster)

    @contextmanager
    def running(self) -> Iterator[list[int]]:
        """See ``Peer.running``."""
        with kubeflow.running(self.cluster, self.folder, port=self._port) as pids:
            yield pids

    def job(self, name: str) -> Object:
        """See ``Peer.job``."""
        return kubeflow.train_job(name, nodes=PODS)

    def last_of(self, name: str) -> str:
        """See ``Peer.last_of``."""
        return kubeflow.batch_job_of(name)


@dataclass
class Kopf:
    """A kopf operator that sends *writes*, those of ours for the job *written*."""

    cluster: LocalCluster
    folder: Path
    writes: "Recorded"
    name: str = "kopf"
    kind: Kind = BERT_JOB

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "writes.json").write_text(json.dumps(self.writes.as_json()))

    @contextmanager
    def running(self) -> Iterator[list[int]]:
        """See ``Peer.running``."""
        env = {
            **os.environ,
            "KUBECONFIG": str(self.cluster.layout.kubeconfig),
            "KOPF_WRITES": str(self.folder / "writes.json"),
            "PYTHONPATH": "operator",
        }
        argv = (
            sys.executable,
            "-m",
            "kopf",
            "run",
            "--standalone",
            "--namespace=default",
            "--quiet",
            str(KOPF_OPERATOR),
        )
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
            try:
                yield [process.pid]
            finally:
                process.kill()
                process.wait()

    def job(self, name: str) -> Object:
        """See ``Peer.job``."""
        return bert_job(name)

    def last_of(self, name: str) -> str:
        """See ``Peer.last_of``."""
        return names.train_name(name, 0)


class Recorded(Wrapped):
    """A cluster that remembers what is written for one job."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.bodies: list[tuple[str, Object]] = []
        self.owner: Object = {}

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """See ``Cluster.apply``."""
        self.bodies.append(("apply", obj))
        return await super().apply(obj, manager=manager)

    async def patch_status(self, ref: Ref, status: Mapping[str, Any], **identity: Any) -> Object:
        """See ``Cluster.patch_status``."""
        assert ref.kind == BERT_JOB, f"{ref} is no part of making a job's objects"
        self.bodies.append(("status", dict(status)))
        self.owner = await super().patch_status(ref, status, **identity)
        return self.owner

    def as_json(self) -> Object:
        """Return the writes and whom they are for."""
        metadata = self.owner["metadata"]
        return {"name": metadata["name"], "uid": metadata["uid"], "writes": self.bodies}


def bert_job(name: str) -> Object:
    """Return a BertJob of so many pods."""
    return {**a_job(training={"replicas": PODS}), "metadata": {"name": name, "namespace": "default"}}


@contextmanager
def held(pids: list[int]) -> Iterator[None]:
    """Stop processes in their tracks within the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def cpu_seconds(pids: list[int]) -> float:
    """Return the processor time that processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
