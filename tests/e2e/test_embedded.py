"""``bertjob run`` from a file to a served INT8 model, by the same processes that a cluster would start."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import s3_gateway
from support.models import a_model_folder
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOB: dict[str, Any] = {
    "apiVersion": "bertjob.dev/v1alpha1",
    "kind": "BertJob",
    "metadata": {"name": "tiny"},
    "spec": {
        "model": {"source": "storage://tiny", "task": "sequence-classification"},
        "data": {
            "train": "storage://data/train.jsonl",
            "validation": "storage://data/validation.jsonl",
            "maxSequenceLength": 16,
        },
        "training": {
            "replicas": 2,
            "epochs": 20,
            "batchSize": 16,
            "learningRate": 0.01,
            "dropout": 0,
            "checkpoint": {"every": "20 steps"},
        },
        "optimize": {"methods": ["dynamic"], "engines": ["openvino"]},
        "gate": {"maxAccuracyDrop": 1, "sizeOnly": True, "minSpeedup": 0, "maxSizeRatio": 10},
        "serving": {"inferenceService": "tiny"},
        "storage": {"prefix": "s3://bertjob/tiny", "secretRef": {"name": "bertjob-storage"}},
    },
}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Give a folder with a tiny model with random weights and examples that it can learn."""
    folder = tmp_path / "storage"
    (folder / "tiny").mkdir(parents=True)
    (folder / "data").mkdir()
    a_model_folder(folder / "tiny")
    rows = [{"text": f"the cat {word} {verb}", "label": word} for word in ("good", "bad") for verb in ("sat", "ran")]
    for name, count in (("train", 16), ("validation", 4)):
        (folder / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * count))
    return folder


def _run(storage: Path, job: dict[str, Any] = JOB) -> tuple[int, str, str]:
    path = storage.parent / "job.yaml"
    path.write_text(json.dumps(job))
    done = subprocess.run(_argv(storage, path), capture_output=True, text=True, check=False, env=_env(storage))
    return done.returncode, done.stdout, done.stderr


def _argv(storage: Path, path: Path) -> list[str]:
    return [sys.executable, "-m", "bertjob_cli.main", "run", str(path), "--storage", str(storage), "-o", "json"]


def _env(storage: Path) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(storage.parent)}


def _steps_trained(status: dict[str, Any]) -> int:
    message = next(item["message"] for item in status["conditions"] if item["type"] == "Trained")
    found = re.search(r"; (\d+) steps trained", message)
    assert found is not None, message
    return int(found[1])


def test_second_run_trains_nothing_and_ends_with_the_same_digest(storage: Path) -> None:
    """Stdout is the final object and nothing else; with the same storage the work is found done."""
    results = [_run(storage) for _ in range(2)]

    assert [code for code, _, _ in results] == [0, 0], results[0][2] + results[1][2]
    first, second = (json.loads(out)["status"] for _, out, _ in results)
    assert first["artifacts"] == second["artifacts"]
    assert first["evaluation"]["verdict"] == "Passed"
    assert first["rollout"]["trafficPercent"] == 100
    assert [_steps_trained(status) for status in (first, second)] == [80, 0]


def test_killed_run_resumes_from_its_committed_checkpoint(storage: Path) -> None:
    """Kill -9 of ``bertjob run`` costs the steps since the last commit, and leaves nothing half-written behind."""
    path = storage.parent / "job.yaml"
    path.write_text(json.dumps(_without(JOB, training={**JOB["spec"]["training"], "checkpoint": {"every": "5 steps"}})))
    with subprocess.Popen(
        _argv(storage, path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_env(storage)
    ) as killed:
        eventually(lambda: any(storage.glob("jobs/*/*/*/checkpoints/LATEST")), timeout_s=180)
        killed.kill()

    code, out, err = _run(storage, json.loads(path.read_text()))

    assert code == 0, err
    assert 0 < _steps_trained(json.loads(out)["status"]) < 80


def test_served_model_answers_until_ctrl_c(storage: Path) -> None:
    """With --serve the model answers ``bertjob predict`` after success; Ctrl-C ends it well and takes the server away."""
    path = storage.parent / "job.yaml"
    path.write_text(json.dumps(JOB))
    argv = [*_argv(storage, path), "--serve"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=_env(storage)) as run:
        assert run.stderr is not None
        url = next(found[1] for line in run.stderr if (found := re.search(r"serving at (\S+);", line)))
        first = _predict(url)
        run.send_signal(signal.SIGINT)
        run.stderr.read()
    afterwards = _predict(url)

    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["label"] in ("good", "bad")
    assert run.returncode == 0
    assert (afterwards.returncode, afterwards.stdout) == (2, "")


def _predict(url: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "bertjob_cli.main", "predict", "tiny", "the cat good sat", "--url", url]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def _without(job: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**job, "spec": {**job["spec"], **spec}}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"data": {**JOB["spec"]["data"], "train": "storage://data/none.jsonl"}}, "data/none.jsonl"),
        ({"model": {**JOB["spec"]["model"], "source": "storage://data"}}, "config.json"),
        ({"model": {**JOB["spec"]["model"], "labels": ["good", "other"]}}, "'bad'"),
    ],
    ids=["missing data", "no BERT", "unknown label"],
)
def test_bad_input_is_one_clear_failure(spec: dict[str, Any], said: str, storage: Path) -> None:
    """What cannot work ends the job with exit code 1 before training, and the message names what is wrong."""
    code, out, err = _run(storage, _without(JOB, **spec))

    assert code == 1, err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in err
    assert "training" not in json.loads(out)["status"]


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("data/train.jsonl", b'{"text": "", "label": "good"}\n' * 8, "train.jsonl:1: column 'text' is empty"),
        ("tiny/model.safetensors", b"\x00" * 64, "model.safetensors"),
    ],
    ids=["empty text", "corrupt weights"],
)
def test_damaged_input_is_one_clear_failure(path: str, content: bytes, said: str, storage: Path) -> None:
    """A file that holds something else than it should is named in one message, before a step is trained."""
    (storage / path).write_bytes(content)
    code, out, err = _run(storage)

    assert code == 1, err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in err
    assert json.loads(out)["status"].get("training", {}).get("step", 0) == 0


@pytest.mark.parametrize(
    ("bucket", "env", "said"),
    [
        (s3_gateway.BUCKET, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "wrong credentials"),
        (s3_gateway.BUCKET, {"AWS_ACCESS_KEY_ID": "nobody"}, "wrong credentials"),
        ("no-such-bucket", {}, "there is no bucket"),
    ],
    ids=["wrong secret", "unknown key", "no bucket"],
)
def test_storage_that_refuses_is_one_clear_failure(bucket: str, env: dict[str, str], said: str, tmp_path: Path) -> None:
    """The bucket, what it lacks and the next step are named before anything is trained; no key is shown."""
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(JOB))
    (tmp_path / "s3").mkdir()
    with s3_gateway.running(tmp_path / "s3") as gateway:
        argv = [sys.executable, "-m", "bertjob_cli.main", "run", str(path), "--storage", f"s3://{bucket}/tiny"]
        full = {**os.environ, **gateway.env, **env, "XDG_STATE_HOME": str(tmp_path)}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=full)

    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for part in (said, bucket, "spec.storage"):
        assert part in errors[0]
    assert "Traceback" not in done.stderr
    assert "secret-key" not in done.stderr
