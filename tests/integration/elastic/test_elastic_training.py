"""Elastic training with real processes on loopback: store, supervisors, launchers and workers that only count."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import training_pods
from support.training_pods import Pods

from bertjob_api import termination

STUB = Path(__file__).with_name("stub_worker.py")
Start = Callable[..., Pods]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts a store and two supervisors with the given ``training`` fields."""
    opened = []

    def begin(pods: tuple[int, ...] = (2, 3), **training: Any) -> Pods:
        context = training_pods.running(tmp_path, training_pods.job((str(STUB), str(tmp_path)), **training))
        opened.append(context)
        running = context.__enter__()
        for index in pods:
            running.start(index)
        return running

    yield begin
    for context in opened:
        context.__exit__(None, None, None)


def tell(pods: Pods, name: str) -> None:
    """Tell the stub workers to end: ``finish``, ``bad`` or ``crash``."""
    (pods.folder / name).touch()


def parent_of(pid: int) -> int:
    """Return the process id of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def launcher_of(pid: int) -> int:
    """Return the process id of the launcher above an own script, which runs below a process of ours."""
    return parent_of(parent_of(pid))


def stepping(world: int, *, restarts: int = 0) -> Callable[[dict[str, Any]], bool]:
    """Return a condition: a world of this size is counting."""
    return lambda seen: seen.get("worldSize") == world and seen["step"] >= 3 and seen["restarts"] >= restarts


def test_two_nodes_end_alike(start: Start) -> None:
    """Both pods end 0 with the same termination message, which is the workers' result; their log has the rank."""
    pods = start(replicas=2)
    seen = [pods.until(index, stepping(2)) for index in (2, 3)]
    assert sorted(each["rank"] for each in seen) == [0, 1]
    tell(pods, "finish")
    assert [pods.wait(2), pods.wait(3)] == [0, 0], pods.logs()
    assert pods.message(2) == pods.message(3)
    result = termination.decode(pods.message(2))
    assert result is not None
    assert (result.steps, result.failure) == (100, None)
    assert "[rank 0] stub started in a world of 2" in pods.log(2) + pods.log(3)


def test_killed_worker_is_started_again(start: Start) -> None:
    """After kill -9 of one worker both nodes go on together in a new round, and end well."""
    pods = start(replicas=2)
    before = pods.until(2, stepping(2))
    os.kill(before["workers"][0]["pid"], signal.SIGKILL)
    new = lambda seen: stepping(2)(seen) and seen["workers"][0]["pid"] != before["workers"][0]["pid"]  # noqa: E731
    assert pods.until(2, new)["restarts"] == 1
    pods.until(3, stepping(2))
    tell(pods, "finish")
    assert [pods.wait(2), pods.wait(3)] == [0, 0], pods.logs()


def test_lost_node_is_done_without(start: Start) -> None:
    """When a whole node dies the survivor goes on alone; none of the dead node's processes live on."""
    pods = start(replicas=2, elastic={"min": 1, "max": 2})
    pods.until(2, stepping(2))
    worker = pods.until(3, stepping(2))["workers"][0]["pid"]
    pods.signal(3, signal.SIGKILL)
    pods.until(2, stepping(1))
    assert not Path(f"/proc/{worker}").exists()
    tell(pods, "finish")
    assert pods.wait(2) == 0, pods.logs()


def test_hung_node_is_done_without(start: Start) -> None:
    """A node that neither answers nor resets its connections is left behind, and costs no restart of the survivor."""
    pods = start(replicas=2, elastic={"min": 1, "max": 2})
    pods.until(2, stepping(2))
    worker = pods.until(3, stepping(2))["workers"][0]["pid"]
    launcher = launcher_of(worker)
    for pid in (launcher, worker):
        os.kill(pid, signal.SIGSTOP)
    assert pods.until(2, stepping(1))["restarts"] == 0
    tell(pods, "finish")
    assert pods.wait(2) == 0, pods.logs()


def test_node_that_comes_is_taken_in(start: Start) -> None:
    """A second node that comes later makes the first go on in a world of two, without counting a restart."""
    pods = start((2,), replicas=1, elastic={"min": 1, "max": 2})
    pods.until(2, stepping(1))
    pods.start(3)
    pods.until(3, stepping(2))
    assert pods.until(2, stepping(2))["restarts"] == 0
    tell(pods, "finish")
    assert [pods.wait(2), pods.wait(3)] == [0, 0], pods.logs()


def test_user_error_ends_every_node(start: Start) -> None:
    """A worker's 42 is never tried again: every pod ends 42 with the failure that worker told."""
    pods = start(replicas=2)
    pods.until(2, stepping(2))
    tell(pods, "bad")
    assert [pods.wait(2), pods.wait(3)] == [42, 42], pods.logs()
    assert pods.message(2) == pods.message(3)
    result = termination.decode(pods.message(2))
    assert result is not None
    assert result.failure is not None
    assert (result.failure.reason, result.failure.message) == ("BadData", "row 7 has no label")


def test_sigterm_ends_with_143(start: Start) -> None:
    """SIGTERM reaches the workers, and the pod ends 143."""
    pods = start((2,), replicas=1)
    pods.until(2, stepping(1))
    pods.signal(2, signal.SIGTERM)
    assert pods.wait(2) == 143, pods.logs()
    result = termination.decode(pods.message(2))
    assert result is not None
    assert result.failure is not None
    assert result.failure.reason == "Evicted"


def test_sigterm_before_training_ends_with_143(start: Start) -> None:
    """A pod that still waits for others ends 143 at once as well."""
    pods = start((2,), replicas=2)
    pods.until(2, bool)
    pods.signal(2, signal.SIGTERM)
    assert pods.wait(2) == 143, pods.logs()


def test_crash_loop_ends(start: Start) -> None:
    """A worker that always crashes at the same step uses up the budget: 75, with its last words, rank and step."""
    pods = start((2,), replicas=1)
    tell(pods, "crash")
    assert pods.wait(2) == 75, pods.logs()
    result = termination.decode(pods.message(2))
    assert result is not None
    assert result.failure is not None
    assert result.failure.reason == "WorkerFailed"
    assert "RuntimeError: crashed at step 1" in result.failure.message
    assert (result.failure.rank, result.failure.step) == (0, 1)


def test_store_restart_does_not_stop_training(start: Start) -> None:
    """While the store is away and after it came back empty, the same workers go on, and the end is shared."""
    pods = start(replicas=2)
    before = [pods.until(index, stepping(2)) for index in (2, 3)]
    pods.signal("store", signal.SIGKILL)
    later = before[0]["step"] + 60
    pods.until(2, lambda seen: seen["step"] >= later)
    pods.start_store()
    pods.until(2, lambda _: "is back" in pods.log(2) and "is back" in pods.log(3))
    after = [pods.until(index, stepping(2)) for index in (2, 3)]
    assert [each["workers"] for each in after] == [each["workers"] for each in before], pods.logs()
    tell(pods, "finish")
    assert [pods.wait(2), pods.wait(3)] == [0, 0], pods.logs()
    assert pods.message(2) == pods.message(3)


def test_late_node_learns_the_end(start: Start) -> None:
    """A pod that comes after the end leaves the same message and ends the same way."""
    pods = start((2,), replicas=1)
    pods.until(2, stepping(1))
    tell(pods, "finish")
    assert pods.wait(2) == 0, pods.logs()
    pods.start(3)
    assert pods.wait(3) == 0, pods.logs()
    assert pods.message(3) == pods.message(2)


def test_killed_launcher_is_started_again(start: Start) -> None:
    """After kill -9 of the launcher its workers are gone too, and the supervisor starts both anew."""
    pods = start((2,), replicas=1)
    before = pods.until(2, stepping(1))["workers"][0]["pid"]
    os.kill(launcher_of(before), signal.SIGKILL)
    new = lambda seen: stepping(1)(seen) and seen["workers"][0]["pid"] != before  # noqa: E731
    assert pods.until(2, new)["restarts"] == 1
    assert not Path(f"/proc/{before}").exists()
    tell(pods, "finish")
    assert pods.wait(2) == 0, pods.logs()
