"""Own scripts that are asked to end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.workers import a_toy_job, environment

from bertjob_api.termination import EVICTED
from bertjob_storage.opening import open_storage
from bertjob_trainer.own.mirror import Mirror

SAVING = """
import os, pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getppid(), signal.SIGTERM)
signal.sigwait([signal.SIGTERM])
checkpoint = pathlib.Path(os.environ["BERTJOB_CHECKPOINT_DIR"], "checkpoint-3")
checkpoint.mkdir()
(checkpoint / "weights").write_text("3")
if sys.argv[1] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[1]))
"""
"""Asks its worker to end, saves once it is asked itself, and ends as it is told."""


@pytest.mark.parametrize(("end", "copied"), [("0", ("checkpoint-3",)), ("1", ("checkpoint-3",)), ("kill", ())])
def test_script_that_is_asked_to_end_is_not_finished(end: str, copied: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing is published or committed, whatever its exit code; its last checkpoint is in storage unless it was killed."""
    path = tmp_path / "train.py"
    path.write_text(SAVING)
    command = [str(path), end]
    env = {**os.environ, **environment(tmp_path, a_toy_job(tmp_path, command=command))}

    worker = subprocess.run([sys.executable, "-m", "bertjob_trainer.own", *command], env=env, check=False)

    assert worker.returncode == EVICTED

    (run,) = (tmp_path / "storage" / "jobs").glob("*/*/run-*") if copied else (None,)
    assert not (tmp_path / "result-0.json").exists()
    if run is not None:
        uri = f"file://{run}/own-checkpoints"
        assert [path.name for path in run.iterdir()] == ["own-checkpoints"]
        assert Mirror(open_storage(uri), uri, tmp_path / "b", keep=2).restore() == copied
    else:
        assert not list((tmp_path / "storage").rglob("own-checkpoints/*"))
