"""Training pods as local processes: the rendezvous store and supervisors, each on a loopback address of its own."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertjob_api import names

ROOT = Path(__file__).parents[2]
_AWAIT_S = 150


def job(command: tuple[str, ...], **training: Any) -> dict[str, Any]:
    """Return a BertJob object whose workers run *command* (torchrun arguments)."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "stub", "namespace": "default", "uid": "u"},
        "spec": {
            "model": {"source": "preset://bert-base", "task": "sequence-classification"},
            "data": {"train": f"file://{__file__}", "validation": f"file://{__file__}"},
            "training": {"command": list(command), **training},
            "storage": {"prefix": "file:///none"},
        },
    }


class Pods:
    """The processes of one attempt; those still running are killed at the end."""

    def __init__(
        self, folder: Path, spec: dict[str, Any], *, env: Mapping[str, str] | None = None, modules: Path | None = None
    ) -> None:
        """Prepare; *env* is added to every process's, and *modules* is a folder that Python finds modules in."""
        self.folder = folder
        self._more = dict(env or {})
        self._modules = [] if modules is None else [str(modules)]
        self._spec = folder / "job.json"
        self._spec.write_text(json.dumps(spec))
        # Random, so that test runs on one machine do not meet on the fixed ports.
        self._network = f"127.{random.randrange(128, 250)}.{random.randrange(1, 250)}"  # noqa: S311
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def address(self, index: int) -> str:
        """Return the address of supervisor *index*; the store has 1."""
        return f"{self._network}.{index}"

    def start_store(self) -> None:
        """Start the rendezvous store, again after it was killed."""
        self._start("store", "bertjob_trainer.store", {names.POD_IP_ENV: self.address(1)})

    def start(self, index: int) -> None:
        """Start the supervisor of a pod."""
        env = {
            names.POD_IP_ENV: self.address(index),
            names.SPEC_FILE_ENV: str(self._spec),
            names.ATTEMPT_ENV: "0",
            names.RDZV_ENDPOINT_ENV: f"{self.address(1)}:{names.STORE_PORT}",
            names.RDZV_ID_ENV: "u-0",
            names.TERMINATION_LOG_ENV: str(self.folder / f"termination-{index}"),
        }
        self._start(str(index), "bertjob_trainer.supervisor", env)

    def _start(self, name: str, module: str, env: dict[str, str]) -> None:
        paths = os.pathsep.join([*self._modules, *(str(ROOT / part) for part in ("operator", "trainer", "serving"))])
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HOME": str(self.folder)}
        with (self.folder / f"{name}.log").open("ab") as log:
            argv = [sys.executable, "-m", module]
            self._processes[name] = subprocess.Popen(argv, env={**base, **self._more, **env}, stdout=log, stderr=log)

    def signal(self, name: str | int, number: signal.Signals) -> None:
        """Send a signal to a supervisor, or to the store."""
        self._processes[str(name)].send_signal(number)
        if number == signal.SIGKILL:
            self._processes[str(name)].wait()

    def wait(self, index: int) -> int:
        """Return the exit code of a supervisor."""
        try:
            return self._processes[str(index)].wait(_AWAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"pod {index} did not end:\n{self.logs()}") from None

    def message(self, index: int) -> str:
        """Return the termination message of a pod."""
        return (self.folder / f"termination-{index}").read_text()

    def log(self, name: str | int) -> str:
        """Return what a process has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def logs(self) -> str:
        """Return what all processes have said."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}" for path in sorted(self.folder.glob("*.log"))
        )

    def progress(self, index: int) -> dict[str, Any]:
        """Return a pod's answer to GET /progress; {} while it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://{self.address(index)}:{names.PROGRESS_PORT}/progress", timeout=5
            ) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (urllib.error.URLError, OSError):
            return {}

    def until(self, index: int, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return a pod's progress once *holds* says yes to it."""
        deadline = time.monotonic() + _AWAIT_S
        found: dict[str, Any] = {}
        while time.monotonic() < deadline:
            found = self.progress(index)
            if found and holds(found):
                return found
            time.sleep(0.1)
        raise AssertionError(f"pod {index} stayed at {found}:\n{self.logs()}")

    def kill_all(self) -> None:
        """Kill what still runs; launchers and workers die with their supervisor."""
        for process in self._processes.values():
            process.kill()
            process.wait()


@contextmanager
def running(folder: Path, spec: dict[str, Any], **options: Any) -> Iterator[Pods]:
    """Give the pods of one attempt with the store started; *options* as for ``Pods``."""
    pods = Pods(folder, spec, **options)
    try:
        pods.start_store()
        yield pods
    finally:
        pods.kill_all()
