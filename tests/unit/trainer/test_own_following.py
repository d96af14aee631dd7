"""What an own script told, as metrics and as a report."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.models import a_model_folder
from support.workers import a_toy_job, environment

from bertjob_api import names
from bertjob_api.progress import Progress
from bertjob_api.termination import OK
from bertjob_storage.local import LocalStorage
from bertjob_trainer.course import START, STEP, Course
from bertjob_trainer.own import following
from bertjob_trainer.own.following import Following
from bertjob_trainer.supervisor_http import KUBEFLOW, PROGRESS, serve
from bertjob_trainer.supervisor_progress import Board

TRAINING = """
import json, os, pathlib, shutil, sys, time, urllib.request
for step in range(1, 4):
    metrics = [{"name": "current_step", "value": str(step)}, {"name": "total_steps", "value": "3"}, {"name": "loss", "value": str(1 / step)}]
    body = json.dumps({"trainerStatus": {"metrics": metrics}}).encode()
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], data=body, method="POST")).close()
    time.sleep(0.8)  # the time of a step
out = pathlib.Path(os.environ["BERTJOB_OUTPUT_DIR"])
shutil.copytree(sys.argv[2], out, dirs_exist_ok=True)
(out / "metrics.json").write_text('{"accuracy": 0.75}')
"""
"""A script that reports as transformers does, and leaves a model."""


def follow(folder: Path, reports: list[Progress]) -> Following:
    """Return what follows a script that tells *reports* one after another, and then nothing new."""
    told: Iterator[Progress] = iter([*reports, *reports[-1:] * 99])
    return Following(LocalStorage(), f"file://{folder}/run", local=folder / "local", ask=lambda: next(told))


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return what stands in the run's metrics."""
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def test_steps_are_kept_and_gone_on_with(tmp_path: Path) -> None:
    """Each step stands once, with its start; a second start goes on where the first one ended."""
    first = follow(tmp_path, [Progress(), Progress(step=5, loss=2.0, updated=1.0), Progress(step=5, updated=2.0)])
    for _ in range(4):
        first.look()
    first.close()
    second = follow(
        tmp_path, [Progress(step=5, loss=2.0, updated=3.0), Progress(step=9, loss=1.0, epoch=0.5, updated=4.0)]
    )
    second.look()
    second.close()

    assert [(each["kind"], each["step"]) for each in lines(tmp_path)] == [(START, 5), (STEP, 5), (START, 5), (STEP, 9)]
    assert lines(tmp_path)[-1] == {"kind": STEP, "step": 9, "time": 4.0, "epoch": 0.5, "loss": 1.0}
    assert second.last_step == 9


def test_nothing_told_is_nothing_written(tmp_path: Path) -> None:
    """A script without reports, or a supervisor that does not answer, leaves no file and no error."""

    def refused() -> Progress:
        raise ConnectionRefusedError

    silent = Following(LocalStorage(), f"file://{tmp_path}/run", local=tmp_path / "local", ask=refused)
    silent.look()
    silent.close()

    assert not (tmp_path / "run").exists()
    assert silent.last_step is None


def test_very_many_steps_are_thinned_out() -> None:
    """Half of them stay, the first and the last among them."""
    course = Course()
    for step in range(1, 102):
        course.stepped(step, total=step, now=float(step), values={"loss": 1.0})

    found = [record.step for record in following.thinned(course).records]

    assert (found[0], found[-1], len(found)) == (1, 101, 51)


@pytest.mark.slow  # a process with a script in it, and time for its steps to be seen
def test_script_leaves_metrics_and_a_report(tmp_path: Path) -> None:
    """What the script told by its progress stands in metrics.jsonl and as a curve in the report beside its model."""
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / "trained").mkdir()
    changes = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}}
    a_model_folder(tmp_path / "trained", **changes)
    server = serve(Board(lambda _: True), address="127.0.0.1", port=0, writable=True)
    base = f"http://127.0.0.1:{server.server_address[1]}"
    command = [str(tmp_path / "train.py"), f"{base}{KUBEFLOW}", str(tmp_path / "trained")]
    job = a_toy_job(tmp_path, command=command)
    env = {**os.environ, **environment(tmp_path, job), names.PROGRESS_URL_ENV: f"{base}{PROGRESS}"}
    try:
        code = subprocess.run([sys.executable, "-m", "bertjob_trainer.own", *command], env=env, check=False).returncode
    finally:
        server.shutdown()
        server.server_close()

    assert code == OK
    (metrics,) = (tmp_path / "storage").rglob("metrics.jsonl")
    told = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert told[-1]["step"] == 3
    assert told[-1]["loss"] == pytest.approx(1 / 3)
    (page,) = (tmp_path / "storage").rglob("*.report.html")
    text = page.read_text()
    assert "by its own script, a model of 3 steps" in text
    assert "training loss" in text
    assert "0.7500" in text
