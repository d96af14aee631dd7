"""Groups formed and broken off again and again in one process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.workers import ROOT, free_port

WORKER = Path(__file__).with_name("forming_worker.py")
ROUNDS = 21


@pytest.fixture
def two() -> Iterator[list["subprocess.Popen[str]"]]:
    """Give two processes that form the same groups."""
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer")),
        "OMP_NUM_THREADS": "1",
    }
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(ROUNDS)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), *addresses],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_groups_end_whatever_their_peers_do_and_leave_nothing(two: list["subprocess.Popen[str]"]) -> None:
    """Peers that leave or hang end no process; twenty groups later no file or thread is left over, and next to no memory."""
    first, second = two
    assert first.stdout is not None
    assert first.stdin is not None
    held = [json.loads(first.stdout.readline()) for _ in range(ROUNDS - 1)]
    assert first.stdout.readline() == "last\n"
    second.send_signal(signal.SIGSTOP)
    first.stdin.write("\n")
    first.stdin.flush()
    after_hang = json.loads(first.stdout.readline())
    assert first.wait(60) == 0

    assert held[-1]["files"] <= held[4]["files"]
    assert held[-1]["threads"] <= held[4]["threads"]
    assert held[-1]["memory"] - held[4]["memory"] < 15 * 1024
    assert after_hang["threads"] <= held[4]["threads"] + 1  # the timer's
