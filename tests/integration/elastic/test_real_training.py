"""BertJob's own worker under store, supervisors and launchers: real training on two nodes."""

import os
import signal
from pathlib import Path

from support import training_pods, undisturbed
from support.workers import a_toy_job

from bertjob_api import termination
from bertjob_api.termination import Result


def result_of(pods: training_pods.Pods, index: int) -> Result:
    result = termination.decode(pods.message(index))
    assert result is not None
    return result


def test_two_nodes_train_through_a_lost_worker(tmp_path: Path) -> None:
    """After kill -9 of a worker training resumes from a checkpoint on both nodes and ends with one model for both."""
    job = a_toy_job(tmp_path, epochs=60, replicas=2, checkpoint={"every": "20 steps", "keep": 2})
    with training_pods.running(tmp_path, job) as pods:
        for index in (2, 3):
            pods.start(index)
        seen = pods.until(2, lambda seen: seen.get("step", 0) >= 60 and bool(seen["workers"]))
        os.kill(seen["workers"][0]["pid"], signal.SIGKILL)
        again = pods.until(2, lambda now: bool(now["workers"]) and now["workers"] != seen["workers"])
        assert again["resumedFromStep"] >= 40
        assert again["restarts"] == 1
        assert [pods.wait(2), pods.wait(3)] == [0, 0], pods.logs()
        assert pods.message(2) == pods.message(3)
        result = result_of(pods, 2)
    assert result.failure is None
    assert result.artifact is not None
    assert result.steps == 60 * 8
    undisturbed.assert_equals_undisturbed(tmp_path, job)
    assert result.metrics is not None


def test_eviction_saves_and_a_new_pod_goes_on(tmp_path: Path) -> None:
    """SIGTERM saves the step reached; a new pod of the same attempt goes on from it, not from the start."""
    job = a_toy_job(tmp_path, epochs=100, replicas=1, checkpoint={"every": "1h"})
    with training_pods.running(tmp_path, job) as pods:
        pods.start(2)
        step = pods.until(2, lambda seen: seen.get("step", 0) >= 30)["step"]
        pods.signal(2, signal.SIGTERM)
        assert pods.wait(2) == 143, pods.logs()
        pods.start(3)
        again = pods.until(3, lambda seen: bool(seen["workers"]))
        assert again["resumedFromStep"] >= step
        assert pods.wait(3) == 0, pods.logs()
        assert result_of(pods, 3).steps == 100 * 8
    undisturbed.assert_equals_undisturbed(tmp_path, job)


def test_bad_data_is_the_users(tmp_path: Path) -> None:
    """A row that cannot be read ends both pods 42 with the same message, which names file and line."""
    job = a_toy_job(tmp_path, replicas=2)
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("not json\n")
    with training_pods.running(tmp_path, job) as pods:
        for index in (2, 3):
            pods.start(index)
        assert [pods.wait(2), pods.wait(3)] == [42, 42], pods.logs()
        assert pods.message(2) == pods.message(3)
        failure = result_of(pods, 2).failure
    assert failure is not None
    assert "train.jsonl" in failure.message
