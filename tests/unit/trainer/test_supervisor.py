"""The supervisor around a launcher."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bertjob_api import names, termination
from bertjob_trainer import supervisor
from bertjob_trainer.supervisor import Ended, Stop
from bertjob_trainer.supervisor_progress import Board

DONE = termination.encode(termination.Result(steps=3))


class Launchers:
    """Stands for the processes: each run takes the next of the given exit codes and leaves its message."""

    def __init__(self, *runs: tuple[int, str]) -> None:
        self.runs = list(runs)

    def run(self, env: dict[str, str], *, stop: Stop) -> Ended:  # noqa: ARG002
        """End as the next one."""
        code, message = self.runs.pop(0)
        result = Path(env[names.RESULT_FILE_ENV])
        result.unlink(missing_ok=True)
        if message:
            result.write_text(message)
        return Ended(code=code, ran_s=1.0, said="last words")


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Give the test runner its signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def run(*runs: tuple[int, str], stopped: bool = False) -> tuple[supervisor.Outcome, int]:
        launchers, stop = Launchers(*runs), Stop()
        stop.asked = stopped
        monkeypatch.setattr(supervisor, "run_launcher", launchers.run)
        monkeypatch.setattr(supervisor, "_sleep", lambda *_args, **_kwargs: None)
        board = Board(alive=lambda _pid: True)
        env = {names.RESULT_FILE_ENV: str(tmp_path / "result.json")}
        return supervisor.supervise(env=env, board=board, stop=stop), board.launches

    return run


@pytest.mark.parametrize("code", [0, 42, 75, 143])
def test_decisions_are_passed_on(supervise, code: int) -> None:
    """A launcher that decided is not started again; its message is the pod's."""
    ended, launches = supervise((code, DONE))
    assert (ended.code, ended.message, launches) == (code, DONE, 1)


@pytest.mark.parametrize("death", [-9, -11, 1, 0], ids=["killed", "segfault", "crashed", "silent"])
def test_dead_launcher_is_started_again(supervise, death: int) -> None:
    """A launcher that died, or left no message, gets another try within the pod."""
    ended, launches = supervise((death, ""), (death, ""), (0, DONE))
    assert (ended.code, ended.message, launches) == (0, DONE, 3)


def test_launcher_that_always_dies_ends_the_pod(supervise) -> None:
    """After the limit the pod asks for another one, with what killed the launcher and its last words."""
    ended, launches = supervise(*[(-9, "")] * 20)
    result = termination.decode(ended.message)
    assert (ended.code, launches) == (75, 6)
    assert result is not None
    assert result.failure is not None
    assert result.failure.reason == "LauncherDied"
    assert "SIGKILL" in result.failure.message
    assert "memory" in result.failure.message
    assert "last words" in result.failure.message


def test_stopped_before_the_start(supervise) -> None:
    """SIGTERM before the launcher runs ends the pod with 143 and starts nothing."""
    ended, launches = supervise(stopped=True)
    assert (ended.code, launches) == (143, 0)


def test_message_is_written_in_place(tmp_path: Path) -> None:
    """The termination log is written, not replaced: the kubelet mounts that very file."""
    target = tmp_path / "log"
    target.touch()
    before = target.stat().st_ino
    supervisor.leave(supervisor.Outcome(code=0, message=DONE), env={names.TERMINATION_LOG_ENV: str(target)})
    assert (target.read_text(), target.stat().st_ino) == (DONE, before)


def test_running_processes_are_told_from_dead_ones() -> None:
    """A process that has ended does not count as running, even before it is collected."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert supervisor.is_running(process.pid)
        process.kill()
        process.communicate()
    assert not supervisor.is_running(process.pid)


def test_supervisor_imports_no_torch() -> None:
    """PID 1 stays small: neither torch nor boto3 nor numpy is imported."""
    code = "import sys, bertjob_trainer.supervisor; print(sorted({'torch', 'boto3', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_kubeflow_callback_of_transformers_reaches_the_board(tmp_path: Path) -> None:
    """The URL and token that workers get are what the callback needs: a POST on loopback with any token."""
    board = Board(alive=lambda _pid: True)
    server = supervisor.supervisor_http.serve(board, address="127.0.0.1", port=0, writable=True)
    try:
        env = supervisor.launcher_env({}, scratch=tmp_path, port=server.server_address[1])
        assert Path(env["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read_text()
        body = json.dumps({"trainerStatus": {"metrics": [{"name": "current_step", "value": "9"}]}}).encode()
        request = urllib.request.Request(env["KUBEFLOW_TRAINER_SERVER_URL"], data=body, method="POST")  # noqa: S310
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
        assert board.read().step == 9
    finally:
        server.shutdown()
        server.server_close()
