"""Parallel strategies in four processes, and as jobs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import workers
from support.progress import ProgressServer
from support.workers import ROOT

from bertjob_api import names
from bertjob_api.termination import EVICTED, OK
from bertjob_storage.uris import path_of

WORKER = Path(__file__).with_name("parallel_worker.py")


@pytest.mark.slow
def test_every_strategy_trains_as_one_process_does(tmp_path: Path) -> None:
    """Twenty losses, the whole state halfway, and what another strategy resumes from it are those of one process."""
    done = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path)],
        env=_env(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found) == 14
    for name, each in found.items():
        rounding = 100 if "bf16" in name else 1
        assert each["losses"] < 1e-4 * rounding, name
        assert each["state"] < 1e-4 * rounding or rounding > 1, name
        assert each["whole model"] == 0, name
    resumed = {name: each["resumed"] for name, each in found.items() if "resumed" in each}
    assert len(resumed) == 5
    assert max(resumed.values()) < 1e-4, resumed


@pytest.mark.slow
def test_job_changes_its_strategy_on_the_way(tmp_path: Path) -> None:
    """A job stopped in a pipeline of two goes on tensor-parallel and ends with the model of one process."""
    folders = [tmp_path / "one", tmp_path / "cut"]
    for folder in folders:
        folder.mkdir()
    plain = workers.a_toy_job(folders[0], epochs=2, dropout=0.0)
    ((code, log),) = workers.run(folders[0], plain)
    assert code == OK, log

    piped, tensor = (
        workers.a_toy_job(folders[1], epochs=2, dropout=0.0, parallelism={axis: 2}, checkpoint={"every": "4 steps"})
        for axis in ("pipeline", "tensor")
    )
    _stop_after_a_step(folders[1], piped)
    ended = workers.run(folders[1], tensor, world=2)

    assert [code for code, _ in ended] == [OK, OK], ended
    result = workers.result_of(folders[1])
    assert result.trained_steps is not None
    assert 0 < result.trained_steps < 16
    states = []
    for folder in folders:
        artifact = workers.result_of(folder).artifact
        assert artifact is not None
        states.append(load_file(path_of(artifact.uri) / "model.safetensors"))
    for name, expected in states[0].items():
        if not name.endswith("key.bias"):  # its gradient is rounding only
            torch.testing.assert_close(states[1][name], expected, atol=1e-4, rtol=1e-4, msg=name)


def _stop_after_a_step(folder: Path, job: dict[str, Any]) -> None:
    """Run two workers and stop them once they train; all save together and end."""
    port = str(workers.free_port())
    with ProgressServer() as server:
        extra = {"MASTER_PORT": port, names.PROGRESS_URL_ENV: server.url}
        both = [workers.start(workers.environment(folder, job, rank=rank, world=2, **extra)) for rank in (0, 1)]
        server.wait_for(lambda report: (report.step or 0) >= 1)
        both[1].send_signal(signal.SIGTERM)
        logs = [worker.communicate(timeout=120)[1] for worker in both]
    assert [worker.returncode for worker in both] == [EVICTED, EVICTED], logs


@pytest.mark.slow  # torch's strategies take seconds to load, twice
@pytest.mark.parametrize("ends", [0, 3], ids=["the store's", "another one"])
def test_loss_while_the_grid_is_formed_is_a_loss(ends: int) -> None:
    """Processes that wait for a lost one to form their groups are told so once they are broken off, and do not wait for minutes."""
    worker = WORKER.with_name("grid_worker.py")

    done = subprocess.run(
        [sys.executable, str(worker), str(ends)], env=_env(), capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def _env() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer", "tests")),
        "OMP_NUM_THREADS": "1",
    }
