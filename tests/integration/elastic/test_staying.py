"""Survivors stay alive: real training under supervisors and launchers, with processes lost, hung, stopped and added."""

import itertools
import os
import re
import signal
from pathlib import Path
from typing import Any

from support import training_pods, undisturbed, waiting
from support.training_pods import Pods
from support.workers import a_toy_job

from bertjob_api import termination
from bertjob_api.job import parse_job, resolved

NEVER = {"every": "1000000 steps"}


def a_long_job(folder: Path, *, epochs: int = 100, **training: Any) -> dict[str, Any]:
    """Return a toy job of 8 steps an epoch that never saves by itself."""
    job = a_toy_job(folder, epochs=epochs, learningRate=1e-3, checkpoint=NEVER, **training)
    return resolved(parse_job(job, local=True))


def stepping(pods: Pods, index: int, *, world: int, after: int = 20) -> dict[str, Any]:
    """Return a pod's progress once it trains in a world of this size and is beyond a step."""
    return pods.until(index, lambda seen: seen.get("worldSize") == world and (seen.get("step") or 0) > after)


def pid_of(seen: dict[str, Any]) -> int:
    """Return the process id of a pod's only worker."""
    pid: int = seen["workers"][0]["pid"]
    return pid


def steps_of(pods: Pods, index: int) -> int | None:
    """Return the steps that the published model has, as a pod's termination message tells."""
    result = termination.decode(pods.message(index))
    return result.steps if result is not None else None


def test_survivor_stays_when_a_worker_is_killed(tmp_path: Path) -> None:
    """The survivor's process goes on without checkpoints, the lost worker is a new one, and each sample was trained once."""
    spec = a_long_job(tmp_path, replicas=2)
    with training_pods.running(tmp_path, spec) as pods:
        for index in (2, 3):
            pods.start(index)
        survivor, lost = (stepping(pods, index, world=2) for index in (3, 2))
        os.kill(pid_of(lost), signal.SIGKILL)
        again = pods.until(
            2, lambda seen: bool(seen["workers"]) and pid_of(seen) != pid_of(lost) and seen["worldSize"] == 2
        )
        after = stepping(pods, 3, world=2, after=again["resumedFromStep"])
        codes, logs = [pods.wait(2), pods.wait(3)], pods.logs()

    assert codes == [0, 0], logs
    assert pid_of(after) == pid_of(survivor), logs
    assert again["resumedFromStep"] >= lost["step"], logs
    assert (again["restarts"], after["restarts"]) == (1, 0), logs
    assert "stepping again after" in pods.log(3), logs
    assert steps_of(pods, 2) == steps_of(pods, 3) == 800
    assert not [path for path in tmp_path.glob("storage/**/checkpoints/*") if path.is_dir()], logs
    undisturbed.assert_equals_undisturbed(tmp_path, spec)


def test_same_process_goes_on_alone_and_takes_a_new_node_in(tmp_path: Path) -> None:
    """A whole node dies and a new one comes: one process trains through both, in worlds of two, one and two."""
    spec = a_long_job(tmp_path, epochs=400, replicas=2, elastic={"min": 1, "max": 2})
    with training_pods.running(tmp_path, spec) as pods:
        for index in (2, 3):
            pods.start(index)
        before = stepping(pods, 2, world=2)
        pods.signal(3, signal.SIGKILL)
        alone = stepping(pods, 2, world=1, after=before["step"])
        pods.start(4)
        both = stepping(pods, 2, world=2, after=alone["step"])
        joined = stepping(pods, 4, world=2, after=alone["step"])
        logs = pods.logs()

    assert pid_of(before) == pid_of(alone) == pid_of(both), logs
    assert joined["resumedFromStep"] >= alone["step"], logs
    assert both["restarts"] == 0, logs


def test_survivor_goes_on_while_a_new_worker_makes_itself_ready(tmp_path: Path) -> None:
    """Where the job may be smaller the survivor trains on alone at once, and takes the new worker in when that is ready."""
    spec = a_long_job(tmp_path, epochs=1000, replicas=2, elastic={"min": 1, "max": 2})
    with training_pods.running(tmp_path, spec) as pods:
        for index in (2, 3):
            pods.start(index)
        survivor, lost = (stepping(pods, index, world=2) for index in (3, 2))
        os.kill(pid_of(lost), signal.SIGKILL)
        stepping(pods, 3, world=1, after=lost["step"])
        successor_of(pods, pid_of(lost))
        both = stepping(pods, 3, world=2, after=lost["step"])
        for index in (2, 3):
            pods.signal(index, signal.SIGTERM)
        codes, logs = [pods.wait(2), pods.wait(3)], pods.logs()

    assert codes == [143, 143], logs
    assert pid_of(both) == pid_of(survivor), logs
    assert both["restarts"] == 0, logs
    assert both["lastRecovery"]["seconds"] > 0, logs
    worlds = [entry.world for entry in undisturbed.assert_equals_undisturbed(tmp_path, spec, steps=both["step"])]
    assert "212" in "".join(str(world) for world, _ in itertools.groupby(worlds)), logs


def test_spare_worker_takes_a_lost_ones_place(tmp_path: Path) -> None:
    """A spare that is killed disturbs nobody; the next one takes the place of a killed worker, and a third one is made ready."""
    spec = a_long_job(tmp_path, epochs=1000, replicas=2, elastic={"min": 1, "max": 2, "spare": True})
    with training_pods.running(tmp_path, spec) as pods:
        for index in (2, 3):
            pods.start(index)
        survivor, lost = (stepping(pods, index, world=2) for index in (3, 2))
        first = waiting.eventually(lambda: spares(pods, 2))[-1]
        os.kill(first, signal.SIGKILL)
        second = waiting.eventually(lambda: spares(pods, 2)[1:])[-1]
        undisturbed_so_far = pods.progress(2)
        os.kill(pid_of(lost), signal.SIGKILL)
        again = pods.until(2, lambda seen: bool(seen["workers"]) and pid_of(seen) == second)
        after = stepping(pods, 3, world=2, after=again["resumedFromStep"])
        waiting.eventually(lambda: spares(pods, 2)[2:])
        for index in (2, 3):
            pods.signal(index, signal.SIGTERM)
        codes, logs = [pods.wait(2), pods.wait(3)], pods.logs()

    assert codes == [143, 143], logs
    assert pid_of(undisturbed_so_far) == pid_of(lost), logs
    assert undisturbed_so_far["restarts"] == 0, logs
    assert (again["restarts"], after["restarts"]) == (1, 0), logs
    assert pid_of(after) == pid_of(survivor), logs
    undisturbed.assert_equals_undisturbed(tmp_path, spec, steps=after["step"])


def spares(pods: Pods, index: int) -> list[int]:
    """Return the spare workers that have been ready in a pod, in order."""
    return [int(pid) for pid in re.findall(r"spare worker is ready \(pid (\d+)\)", pods.log(index))]


def test_hung_worker_is_ended_and_the_survivor_stays(tmp_path: Path) -> None:
    """A worker that is stopped (SIGSTOP) under a healthy launcher is replaced; the other one keeps process and step."""
    with training_pods.running(tmp_path, a_long_job(tmp_path, epochs=200, replicas=2)) as pods:
        for index in (2, 3):
            pods.start(index)
        survivor, hung = (stepping(pods, index, world=2) for index in (3, 2))
        os.kill(pid_of(hung), signal.SIGSTOP)
        again = pods.until(
            2, lambda seen: bool(seen["workers"]) and pid_of(seen) != pid_of(hung) and seen["worldSize"] == 2
        )
        after = stepping(pods, 3, world=2, after=again["resumedFromStep"])
        logs = pods.logs()

    assert pid_of(after) == pid_of(survivor), logs
    assert again["resumedFromStep"] >= hung["step"], logs


def test_survivor_of_an_eviction_stays(tmp_path: Path) -> None:
    """SIGTERM of one pod ends that one 143 and nobody else: the other one goes on with its process and its step."""
    spec = a_long_job(tmp_path, epochs=200, replicas=2, elastic={"min": 1, "max": 2})
    with training_pods.running(tmp_path, spec) as pods:
        for index in (2, 3):
            pods.start(index)
        before = stepping(pods, 3, world=2)
        pods.signal(2, signal.SIGTERM)
        code = pods.wait(2)
        alone = stepping(pods, 3, world=1, after=before["step"])
        logs = pods.logs()

    assert code == 143, logs
    assert pid_of(alone) == pid_of(before), logs
    assert alone["restarts"] == 0, logs


def test_neighbour_in_the_same_pod_stays_through_two_losses(tmp_path: Path) -> None:
    """Of two workers of one pod one is killed, and its successor while it still starts; the other one stays throughout."""
    spec = a_long_job(tmp_path, epochs=200, replicas=1, processesPerNode="2")
    with training_pods.running(tmp_path, spec) as pods:
        pods.start(2)
        before = stepping(pods, 2, world=2)
        of_rank = {worker["rank"]: worker["pid"] for worker in before["workers"]}
        os.kill(of_rank[0], signal.SIGKILL)
        successor = successor_of(pods, of_rank[0])
        os.kill(successor, signal.SIGKILL)
        after = pods.until(
            2,
            lambda seen: (
                (seen.get("resumedFromStep") or 0) >= before["step"]
                and seen["step"] > seen["resumedFromStep"]
                and len(seen["workers"]) == 2
            ),
        )
        logs = pods.logs()

    pids = {worker["pid"] for worker in after["workers"]}
    assert of_rank[1] in pids, logs
    assert not pids & {of_rank[0], successor}, logs


def successor_of(pods: Pods, pid: int) -> int:
    """Return the process that was started in place of another, once the launcher tells."""
    found = waiting.eventually(lambda: re.findall(r"a new worker .* \(pid (\d+)\)", pods.log(2)))
    assert int(found[-1]) != pid
    return int(found[-1])
