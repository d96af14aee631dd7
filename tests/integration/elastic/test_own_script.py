"""The example's plain transformers.Trainer script as a job: killed, resumed from its own checkpoint, published."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from support import training_pods, waiting
from support.training_pods import ROOT, Pods
from support.workers import a_toy_job
from transformers import AutoModelForSequenceClassification

from bertjob_api import termination
from bertjob_api.job import parse_job, resolved
from bertjob_storage import folders
from bertjob_storage.opening import open_storage

SCRIPT = ROOT / "examples" / "own-script" / "train.py"


def a_scripted_job(folder: Path) -> dict[str, Any]:
    """Return a job of 800 steps whose script saves every 20."""
    options = ("--epochs", "200", "--learning-rate", "1e-3", "--save-steps", "20")
    return resolved(parse_job(a_toy_job(folder, command=[str(SCRIPT), *options]), local=True))


def worker(pods: Pods) -> int:
    """Return the process id of the newest worker."""
    found = waiting.eventually(lambda: re.findall(r"rank 0 \(pid (\d+)\)", pods.log(2)))
    return int(found[-1])


@pytest.mark.timeout(600)
@pytest.mark.slow  # two starts of transformers, and time for a checkpoint to settle
def test_script_resumes_and_its_model_is_published(tmp_path: Path) -> None:
    """Progress is seen; after kill -9 the script goes on from its newest committed checkpoint; its model is a trained one."""
    with training_pods.running(tmp_path, a_scripted_job(tmp_path)) as pods:
        pods.start(2)
        waiting.eventually(lambda: list((tmp_path / "storage").rglob("own-checkpoints/*/manifest.json")), timeout_s=200)
        seen = pods.until(2, lambda found: (found.get("step") or 0) > 0)
        os.kill(worker(pods), signal.SIGKILL)
        code, log = pods.wait(2), pods.log(2)
        result = termination.decode(pods.message(2))

    assert code == 0, log
    assert seen["total"] == 800
    starts = re.findall(r"starting from (\S+)", log)
    assert starts[0] == str(tmp_path / "source"), log
    assert re.search(r"/checkpoint-[1-9]\d*$", starts[1]), log
    assert result is not None
    assert result.artifact is not None
    assert result.metrics is not None
    assert result.metrics["accuracy"] >= 0.9
    uri = result.artifact.uri
    manifest = folders.fetch(open_storage(uri), uri, tmp_path / "copy", result.artifact.sha256)
    assert (manifest.role, manifest.labels) == ("trained", ("bad", "good"))
    AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "copy"))
