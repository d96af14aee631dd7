"""Nothing that the kubelet started survives: not its end, not its death, not the death of a pod's process 1."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import eventually

PROGRAM = Path(__file__).with_name("kubelet_program.py")


@pytest.fixture
def spread(tmp_path):
    """Give the running program and the pids of its pod's three processes."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, str(PROGRAM), str(tmp_path)], env=env) as program:
        pids = []
        try:
            pids += eventually(lambda: _three_pids(tmp_path), timeout_s=30)
            yield program, pids
        finally:
            program.kill()
            for pid in filter(is_alive, pids):
                os.kill(pid, signal.SIGKILL)


def _three_pids(state):
    words = [word for log in state.glob("pods/*/main.log") for word in log.read_text().split()]
    return [int(word) for word in words] if len(words) == 3 else None


def is_alive(pid):
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_pods_end_with_the_kubelet(spread, end):
    """However the kubelet ends, every process of its pods ends too, whatever session it is in."""
    program, pids = spread
    assert all(is_alive(pid) for pid in pids)

    program.send_signal(end)
    program.wait(timeout=30)

    eventually(lambda: not any(is_alive(pid) for pid in pids), timeout_s=5)


def test_pod_ends_with_its_process_1(spread):
    """When a pod's process 1 is killed, the program and what inherited its environment are ended."""
    program, pids = spread
    parent = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    if parent == program.pid:
        pytest.fail("a container has a process 1 of its own")

    os.kill(parent, signal.SIGKILL)

    eventually(lambda: not any(is_alive(pid) for pid in pids[:2]), timeout_s=5)
