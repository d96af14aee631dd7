"""The best model, not the last, is published, and training ends when nothing improves: as processes, through a kill."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import workers
from support.progress import ProgressServer

from bertjob_api import names
from bertjob_api.termination import EVICTED, OK, Result
from bertjob_storage.uris import path_of


def a_watched_job(folder: Path, **training: Any) -> dict[str, Any]:
    """Return a job that is good long before its last of 100 epochs."""
    return workers.a_toy_job(
        folder,
        epochs=100,
        **training,
        earlyStopping={"patience": 3},
        checkpoint={"every": "5 steps", "keep": 1, "best": "accuracy"},
    )


def finished(folder: Path, job: dict[str, Any], **env: str) -> Result:
    """Return the result of a worker that trains to the end."""
    ((code, log),) = workers.run(folder, job, **env)
    assert code == OK, log
    return workers.result_of(folder)


@pytest.mark.slow  # three trainings, each in a process of its own
def test_best_model_survives_a_kill_and_retention(tmp_path: Path) -> None:
    """A worker is ended in the middle; the next one stops at the same step and publishes the same older model."""
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    for folder in (broken, unbroken):
        folder.mkdir()
    job = a_watched_job(broken)
    with ProgressServer() as server:
        worker = workers.start(workers.environment(broken, job, **{names.PROGRESS_URL_ENV: server.url}))
        server.wait_for(lambda report: (report.step or 0) >= 1)
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate(timeout=120)
    assert worker.returncode == EVICTED, log

    result, expected = finished(broken, job), finished(unbroken, a_watched_job(unbroken))

    assert result.artifact is not None
    assert expected.artifact is not None
    assert result.steps == expected.steps
    weights = [path_of(found.uri) / "model.safetensors" for found in (result.artifact, expected.artifact)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert result.steps is not None
    assert result.steps % 8 == 0
    early, older = result.details
    assert early.startswith(f"stopped early after step {result.steps + 3 * 8} of 800: accuracy was")
    assert older == f"the model is that of step {result.steps}, the best by accuracy"
    kept = [path.name for path in path_of(result.artifact.uri).parents[1].glob("run-*/checkpoints/step-*")]
    assert f"step-{result.steps:08d}" in kept
    assert len(kept) == 2
    _each_step_stands_once(path_of(result.artifact.uri).parents[1], last=result.steps + 3 * 8)


@pytest.mark.slow  # three trainings, two of them of two processes
def test_best_model_is_the_same_one_of_a_model_that_is_cut(tmp_path: Path) -> None:
    """Evaluated on the way, stopped early and published from an older checkpoint: cut by tensor or fsdp as in one process."""
    found = {}
    for name, world in (("data", 1), ("tensor", 2), ("fsdp", 2)):
        folder = tmp_path / name
        folder.mkdir()
        ended = workers.run(folder, a_watched_job(folder, dropout=0.0, parallelism={name: world}), world=world)
        assert [code for code, _ in ended] == [OK] * world, ended
        found[name] = workers.result_of(folder)

    expected = found.pop("data")
    assert expected.details
    for name, result in found.items():
        assert (result.steps, result.details) == (expected.steps, expected.details), name
        assert result.metrics == pytest.approx(expected.metrics, abs=1e-3), name
        for tensor, value in _weights(expected).items():
            if not tensor.endswith("key.bias"):  # its gradient is rounding only
                torch.testing.assert_close(
                    _weights(result)[tensor], value, atol=1e-3, rtol=1e-3, msg=f"{name}: {tensor}"
                )


def _weights(result: Result) -> dict[str, torch.Tensor]:
    assert result.artifact is not None
    return load_file(path_of(result.artifact.uri) / "model.safetensors")


def _each_step_stands_once(job_root: Path, *, last: int) -> None:
    """Assert that the metrics tell of every step to the *last* once, and of both processes."""
    (found,) = job_root.glob("run-*/metrics.jsonl")
    lines = [json.loads(line) for line in found.read_text().splitlines()]
    of = {kind: [line["step"] for line in lines if line["kind"] == kind] for kind in ("step", "evaluation", "start")}
    assert of["step"] == list(range(1, last + 1))
    assert of["evaluation"] == list(range(0, last + 1, 8))
    assert len(of["start"]) == 2
    assert all(line["tokensPerSecond"] > 0 for line in lines if line["kind"] == "step")
