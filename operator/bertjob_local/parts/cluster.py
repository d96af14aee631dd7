"""
Start, use and end a local cluster: what the command line and the tests call.

Errors::

    RuntimeError
    +- ClusterFailedError    it did not come up, or a part did not come back
    +- NotRunningError       nothing runs in that state folder (``control.py``)
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bertjob_local import binaries
from bertjob_local.parts import control, owner, plan, prepare
from bertjob_local.parts import settings as settings_file
from bertjob_local.parts import state as state_file
from bertjob_local.parts.layout import Layout
from bertjob_local.parts.settings import Settings

_PART_TIMEOUT_S = 90.0
_POLL_S = 0.05


class ClusterFailedError(RuntimeError):
    """The cluster did not come up, or a part of it did not come back."""


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A running cluster of real parts, known by its state folder."""

    layout: Layout

    @classmethod
    def up(
        cls, root: Path, settings: Settings | None = None, *, say: Callable[[str], None] = lambda _: None
    ) -> "LocalCluster":
        """
        Return a cluster whose every part is ready; missing binaries are built first.

        Args:
            root: its state folder, made if need be; one cluster per folder.
            settings: what to run; None: everything, with three nodes.
            say: gets lines of progress.

        Raises:
            ClusterFailedError: one already runs there, or a part did not come up.
            BuildError: a binary could not be built.

        """
        settings = settings or Settings()
        layout = Layout(root.absolute())
        try:
            layout.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{layout.root}: the cluster's folder cannot be made ({error.strerror}); name another one with --state DIR"
            raise ClusterFailedError(msg) from error
        binaries.build(plan.binaries_for(settings), say=say)
        settings_file.write(settings, layout.settings)
        answer = owner.start_supervisor(layout)
        if answer != "ready":
            raise ClusterFailedError(answer or f"the supervising process ended early; see {layout.logs}")
        return cls(layout)

    @classmethod
    def at(cls, root: Path) -> "LocalCluster":
        """Return the cluster that runs in *root*; NotRunningError when none does."""
        found = cls(Layout(root.absolute()))
        found.status()
        return found

    def status(self) -> state_file.State:
        """Return the latest state; NotRunningError when nothing runs."""
        if owner.holder(self.layout) is None:
            msg = f"no local cluster runs in {self.layout.root}; start one with `up`"
            raise control.NotRunningError(msg)
        try:
            return state_file.decode(self.layout.state.read_text())
        except FileNotFoundError as error:
            msg = f"the local cluster in {self.layout.root} has only just begun to start; try again"
            raise control.NotRunningError(msg) from error

    def env(self) -> dict[str, str]:
        """Return the variables for a shell or a test: PATH already extended, S3 secrets included."""
        state = self.status()
        tools = [binaries.locate(name) for name in ("kubectl", "helm")]
        folders = dict.fromkeys(str(tool.parent) for tool in tools if tool)
        found = {
            "KUBECONFIG": state.kubeconfig,
            "KUBECACHEDIR": str(self.layout.kubectl_cache),
            "PATH": os.pathsep.join((*folders, os.environ.get("PATH", os.defpath))),
        }
        if state.s3_endpoint:
            access, secret = prepare.s3_keys(self.layout)
            found |= {"AWS_ENDPOINT_URL": state.s3_endpoint, "AWS_ACCESS_KEY_ID": access}
            found |= {"AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": plan.S3_REGION}
            found |= {"AWS_DEFAULT_REGION": plan.S3_REGION}
        return found

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Return what kubectl prints; CalledProcessError, with its stderr, when it fails."""
        env = os.environ | self.env()
        argv = ("kubectl", *arguments)
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, env=env)
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
            error.add_note(done.stderr.strip())
            raise error
        return done.stdout

    def kill(self, part: str, *, sig: signal.Signals = signal.SIGKILL) -> None:
        """Stop one part with *sig* and keep it stopped until ``start``; returns when it has ended."""
        self._send(part, sig, wanted=False)
        self._wait_for(part, lambda each: each.phase == "stopped")

    def crash(self, part: str) -> None:
        """Kill one part that then comes back by itself, as after a crash; returns when it has ended."""
        before = self._part(part).pid
        self._send(part, signal.SIGKILL, wanted=True)
        self._wait_for(part, lambda each: each.pid != before)

    def start(self, part: str) -> None:
        """Start a stopped part; returns when it is ready."""
        control.ask(self.layout, {"do": "start", "part": part})
        self.wait_ready(part)

    def restart(self, part: str, *, sig: signal.Signals = signal.SIGKILL) -> None:
        """End one part with *sig* and start it again; returns when it is ready."""
        self.kill(part, sig=sig)
        self.start(part)

    def pause(self, part: str) -> None:
        """Stop one part's process in its tracks: connections stay open and nothing answers."""
        self._send(part, signal.SIGSTOP, wanted=True)

    def resume(self, part: str) -> None:
        """Let a paused part go on."""
        self._send(part, signal.SIGCONT, wanted=True)

    def wait_ready(self, part: str) -> None:
        """Return once *part* is ready or done; ClusterFailedError when it takes too long."""
        self._wait_for(part, lambda each: each.phase in {"ready", "done"})

    def down(self, *, delete: bool = False) -> None:
        """
        End every process; returns when they are gone, at once when nothing ran.

        Args:
            delete: also remove the state folder, with all data in the S3 gateway.

        """
        if (pid := owner.holder(self.layout)) is not None:
            owner.end_process(pid)
        if delete:
            shutil.rmtree(self.layout.root, ignore_errors=True)

    def _send(self, part: str, number: signal.Signals, *, wanted: bool) -> None:
        request = {"do": "signal", "part": part, "signal": int(number), "wanted": wanted}
        control.ask(self.layout, request)

    def _part(self, part: str) -> state_file.PartState:
        return self.status().parts[part]

    def _wait_for(self, part: str, holds: Callable[[state_file.PartState], bool]) -> None:
        deadline = time.monotonic() + _PART_TIMEOUT_S
        while not holds(self._part(part)):
            if time.monotonic() > deadline:
                msg = f"{part}: still {self._part(part)} after {_PART_TIMEOUT_S:.0f} s; see {self.layout.log_of(part)}"
                raise ClusterFailedError(msg)
            time.sleep(_POLL_S)
