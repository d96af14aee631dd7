"""Real workers under real supervisors: what is lost with a process."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support import training_pods, workers

from bertjob_api import termination
from bertjob_api.job import parse_job, resolved

NEVER = {"every": "1000000 steps"}


def a_long_job(folder: Path, **training: Any) -> dict[str, Any]:
    """Return a toy job of 400 steps that never saves by itself."""
    job = workers.a_toy_job(folder, epochs=50, learningRate=1e-3, checkpoint=NEVER, **training)
    return resolved(parse_job(job, local=True))


def test_no_step_is_lost_with_a_worker(tmp_path: Path) -> None:
    """After kill -9 of rank 0 the survivor's state is saved, and both go on from there to the end."""
    with training_pods.running(tmp_path, a_long_job(tmp_path, replicas=2)) as pods:
        pods.start(2)
        pods.start(3)
        seen = [pods.until(index, lambda found: (found.get("step") or 0) >= 20) for index in (2, 3)]
        first = min(seen, key=lambda found: found["rank"])
        os.kill(first["workers"][0]["pid"], signal.SIGKILL)

        again = pods.until(2, lambda found: (found.get("resumedFromStep") or 0) > 0 and found.get("worldSize") == 2)
        codes = [pods.wait(2), pods.wait(3)]
        logs = pods.logs()

    assert codes == [0, 0], logs
    assert again["resumedFromStep"] >= first["step"], logs
    result = termination.decode(pods.message(2))
    assert result is not None
    assert pods.message(3) == pods.message(2)
    assert (result.steps, result.trained_steps) == (400, 400 - again["resumedFromStep"])


def test_survivor_goes_on_alone_where_the_lost_node_was(tmp_path: Path) -> None:
    """When a whole pod is lost, the other one resumes its own newest step in a world of one."""
    spec = a_long_job(tmp_path, replicas=2, elastic={"min": 1, "max": 2})
    with training_pods.running(tmp_path, spec) as pods:
        pods.start(2)
        pods.start(3)
        for index in (2, 3):
            before = pods.until(index, lambda found: found.get("worldSize") == 2 and found["step"] >= 20)
        pods.signal(3, signal.SIGKILL)

        alone = pods.until(2, lambda found: found.get("worldSize") == 1 and found.get("resumedFromStep") is not None)
        code, logs = pods.wait(2), pods.logs()

    assert code == 0, logs
    assert alone["resumedFromStep"] >= before["step"], logs


@pytest.mark.slow
def test_lost_part_of_a_model_goes_back_to_the_last_commit(tmp_path: Path) -> None:
    """After kill -9 of one of two that share a model, both go on from a checkpoint to the end."""
    spec = resolved(
        parse_job(
            workers.a_toy_job(
                tmp_path, epochs=12, checkpoint={"every": "4 steps"}, replicas=2, parallelism={"fsdp": 2}
            ),
            local=True,
        )
    )
    with training_pods.running(tmp_path, spec) as pods:
        pods.start(2)
        pods.start(3)
        seen = [pods.until(index, lambda found: (found.get("step") or 0) >= 12) for index in (2, 3)]
        os.kill(seen[0]["workers"][0]["pid"], signal.SIGKILL)

        again = pods.until(2, lambda found: (found.get("resumedFromStep") or 0) > 0 and found.get("worldSize") == 2)
        codes, logs = [pods.wait(2), pods.wait(3)], pods.logs()

    assert codes == [0, 0], logs
    assert again["resumedFromStep"] % 4 == 0, logs
    result = termination.decode(pods.message(2))
    assert result is not None
    assert (result.steps, result.trained_steps) == (96, 96 - again["resumedFromStep"])


@pytest.mark.slow
def test_a_node_that_makes_no_whole_copy_looks_on(tmp_path: Path) -> None:
    """A third node joins two that share a model: they save, form a group of three without losing a step, and all end alike."""
    spec = a_long_job(tmp_path, replicas=2, elastic={"min": 2, "max": 3}, parallelism={"fsdp": 2})
    with training_pods.running(tmp_path, spec) as pods:
        pods.start(2)
        pods.start(3)
        before = pods.until(2, lambda found: (found.get("step") or 0) >= 20)
        pods.start(4)
        joined = [pods.until(index, lambda found: found.get("worldSize") == 3) for index in (2, 3, 4)]
        codes, logs = [pods.wait(index) for index in (2, 3, 4)], pods.logs()

    assert codes == [0, 0, 0], logs
    assert min(found["resumedFromStep"] for found in joined) >= before["step"], logs
    result = termination.decode(pods.message(2))
    assert result is not None
    assert result.steps == 400
