"""
PID 1 of a training pod: runs the launcher, tells how far training is, and leaves the termination message.

Without torch, so that it is there at once, small, and survives what kills the launcher. A launcher that ends with 0, 42, 75 or
143 has decided; one that died is started again, since the Job controller replaces a failed pod only after 10 s and more.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bertjob_api import names, termination
from bertjob_trainer import supervisor_http
from bertjob_trainer.elastic import bound, outcome
from bertjob_trainer.elastic.budget import Budget, after_failure
from bertjob_trainer.elastic.outcome import Outcome
from bertjob_trainer.elastic.pump import Pump, Tail
from bertjob_trainer.supervisor_progress import Board

_log = logging.getLogger(__name__)

DECIDED: Final = (termination.OK, termination.USER_ERROR, termination.RETRY, termination.EVICTED)
LAUNCHER: Final = ("-m", "bertjob_trainer.launcher")
_DEATHS: Final = 5
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One run of the launcher."""

    code: int
    """As ``subprocess`` gives it: negative for a signal."""
    ran_s: float
    said: str
    """Its last lines on stderr."""


class Stop:
    """Passes SIGTERM on to the launcher that runs, and remembers it for the one that does not yet."""

    def __init__(self) -> None:
        self.asked = False
        self._process: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)

    def watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Pass signals on to *process* from now on."""
        self._process = process
        if self.asked:
            process.terminate()

    def _forward(self, _number: int, _frame: object) -> None:
        self.asked = True
        if self._process is not None:
            self._process.terminate()


def supervise(*, env: Mapping[str, str], board: Board, stop: Stop) -> Outcome:
    """Return how training in this pod ended; a launcher that dies is started again, with growing delays."""
    result_file = Path(env[names.RESULT_FILE_ENV])
    budget = Budget(limit=_DEATHS)
    while True:
        if stop.asked:
            return _evicted()
        board.launches += 1
        ended = run_launcher(env, stop=stop)
        told = result_file.read_text() if result_file.exists() else ""
        if ended.code in DECIDED and termination.decode(told) is not None:
            return Outcome(code=ended.code, message=told)
        if stop.asked:
            return _evicted()
        budget, again = after_failure(budget, step=board.read().step, ran_s=ended.ran_s, killed=False)
        if not again:
            return _died(ended, step=board.read().step)
        _log.warning(
            "supervisor: the launcher %s; it starts again in %g s", outcome.how_it_ended(ended.code), budget.delay_s
        )
        _sleep(budget.delay_s, stop=stop)


def run_launcher(env: Mapping[str, str], *, stop: Stop) -> Ended:
    """Run the launcher to its end; nothing it started is left."""
    started = time.monotonic()
    read, write = os.pipe()
    # ``bound`` ends it when this process is killed; a session of its own makes it one group to kill.
    argv = (sys.executable, "-I", "-S", bound.__file__, sys.executable, *LAUNCHER)
    with subprocess.Popen(argv, env=dict(env), stderr=write, start_new_session=True) as process:
        os.close(write)
        tail = Tail()
        pump = Pump(read, sys.stderr.buffer, tail=tail)
        pump.start()
        stop.watch(process)
        while process.poll() is None:
            _reap_orphans(process.pid)
            time.sleep(_POLL_S)
        _kill_group(process.pid)
        pump.finish()
        return Ended(code=process.returncode, ran_s=time.monotonic() - started, said=tail.text())


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left in it


def _reap_orphans(launcher: int) -> None:
    """Collect what ended after its own parent had: as PID 1 we inherit it."""
    if os.getpid() != 1:
        return
    while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if found.si_pid == launcher:
            return  # the caller takes its exit code
        os.waitpid(found.si_pid, 0)


def _sleep(seconds: float, *, stop: Stop) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stop.asked:
        time.sleep(_POLL_S)


def _evicted() -> Outcome:
    return outcome.failed(
        termination.EVICTED,
        reason="Evicted",
        message="ended by SIGTERM; training goes on from the newest checkpoint when the pod is replaced",
    )


def _died(ended: Ended, *, step: int | None) -> Outcome:
    how = outcome.how_it_ended(ended.code)
    return outcome.failed(
        termination.RETRY,
        reason="LauncherDied",
        message=f"the launcher {how} {_DEATHS + 1} times without progress; it said last: {ended.said or 'nothing'}",
        step=step,
    )


def is_running(pid: int) -> bool:
    """Return whether a process of this id runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return False


def launcher_env(env: Mapping[str, str], *, scratch: Path, port: int) -> dict[str, str]:
    """Return the launcher's environment; the status callback of Kubeflow Trainer wants a token file, which may hold anything."""
    token = scratch / "token"
    token.write_text("loopback")
    return {
        **env,
        names.RESULT_FILE_ENV: str(scratch / "result.json"),
        names.PROGRESS_URL_ENV: f"http://127.0.0.1:{port}{supervisor_http.PROGRESS}",
        "KUBEFLOW_TRAINER_SERVER_URL": f"http://127.0.0.1:{port}{supervisor_http.KUBEFLOW}",
        "KUBEFLOW_TRAINER_SERVER_TOKEN": str(token),
    }


def main() -> int:
    """Supervise this pod's training, write the termination message, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    stop, board = Stop(), Board(alive=is_running)
    address = os.environ.get(names.POD_IP_ENV) or "127.0.0.1"
    outside = supervisor_http.serve(board, address=address, port=names.PROGRESS_PORT, writable=False)
    inside = supervisor_http.serve(board, address="127.0.0.1", port=0, writable=True)
    with tempfile.TemporaryDirectory(prefix="bertjob-supervisor-") as scratch:
        env = launcher_env(os.environ, scratch=Path(scratch), port=inside.server_address[1])
        ended = supervise(env=env, board=board, stop=stop)
    _log.info("supervisor: training in this pod ended with %d", ended.code)
    leave(ended, env=os.environ)
    for server in (outside, inside):
        server.server_close()
    return ended.code


def leave(ended: Outcome, *, env: Mapping[str, str]) -> None:
    """Write the termination message; not by renaming, since the kubelet mounts the file itself."""
    target = env.get(names.TERMINATION_LOG_ENV)
    if target:
        Path(target).write_text(ended.message)


if __name__ == "__main__":
    sys.exit(main())
