"""Deaths told by connections."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import waiting

from bertjob_trainer.elastic.pulse import Peer, Pulse
from bertjob_trainer.warming import once

CHILD = "from bertjob_trainer.elastic.pulse import Pulse; print(Pulse('127.0.0.1').port, flush=True); input()"


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    """Give this launcher's pulse."""
    found = Pulse("127.0.0.1")
    yield found
    found.close()


@pytest.fixture
def other() -> Iterator[tuple[Peer, "subprocess.Popen[str]"]]:
    """Give another launcher's, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Peer("127.0.0.1", int(process.stdout.readline())), process
        process.kill()


def test_killed_launcher_is_noticed_and_a_stopped_one_is_not(
    pulse: Pulse, other: tuple[Peer, "subprocess.Popen[str]"]
) -> None:
    """Without any word of its own a killed launcher is gone; one that lives and does not answer is not; one forgotten is not."""
    peer, process = other
    pulse.follow([peer])
    waiting.eventually(lambda: peer in pulse._connections)
    process.send_signal(signal.SIGSTOP)
    assert pulse.gone() == frozenset()
    process.send_signal(signal.SIGKILL)
    assert waiting.eventually(pulse.gone) == {peer}
    pulse.follow([])
    assert pulse.gone() == frozenset()


def test_lost_connection_alone_is_no_death(pulse: Pulse) -> None:
    """A launcher whose connection was cut is connected to again."""
    lives = Pulse("127.0.0.1")
    peer = Peer("127.0.0.1", lives.port)
    pulse.follow([peer])
    waiting.eventually(lambda: lives._accepted)
    first = pulse._connections[peer]
    next(iter(lives._accepted)).shutdown(2)
    waiting.eventually(lambda: pulse._connections.get(peer) not in (None, first))
    assert pulse.gone() == frozenset()
    lives.close()
    assert waiting.eventually(pulse.gone) == {peer}


def test_one_of_many_processes_fetches(tmp_path: Path) -> None:
    """What is done once is done by one process while the others wait, again for another launcher, and again after a death."""
    program = (
        "import sys, time; from pathlib import Path; from bertjob_trainer.warming import once\n"
        "folder = Path(sys.argv[1])\n"
        "def work():\n    time.sleep(0.05); (folder / 'log').open('a').write('x')\n"
        "once(folder, work, key=sys.argv[2])\n"
        "assert (folder / 'log').read_text()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path), "a"]
    both = [subprocess.Popen(argv) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "x"
    once(tmp_path, lambda: None, key="a")
    with pytest.raises(ZeroDivisionError):
        once(tmp_path, lambda: 1 / 0, key="b")
    done = []
    once(tmp_path, lambda: done.append(os.getpid()), key="b")
    assert done == [os.getpid()]
