"""What preflight finds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import s3_gateway
from support.jobs import Object
from support.workers import a_toy_job, toy_rows, write_rows

from bertjob_api import names, termination
from bertjob_api.contract import CONTRACT
from bertjob_api.termination import Result
from bertjob_storage import open_storage
from bertjob_trainer import preflight
from bertjob_trainer.preflight_checks import Problem


@pytest.fixture
def job(tmp_path: Path) -> Object:
    return a_toy_job(tmp_path)


def run(job: Object, folder: Path, env: dict[str, str] | None = None) -> tuple[int, Result]:
    spec = folder / "job.json"
    spec.write_text(json.dumps(job))
    return preflight.run({names.SPEC_FILE_ENV: str(spec), **(env or {})})


def message_of(result: Result) -> str:
    assert result.failure is not None
    return result.failure.message


def test_sound_job_passes(job: Object, tmp_path: Path) -> None:
    """A job whose inputs are well ends 0, says what was seen, and leaves nothing in storage."""
    code, result = run(job, tmp_path)
    assert (code, result.failure) == (0, None)
    assert "train: 60 examples can be read" in result.details
    assert "validation: 20 examples can be read" in result.details
    assert list(open_storage("file:///x").list(f"file://{tmp_path}/storage/")) == []


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_gateway.Gateway]:
    with s3_gateway.running(tmp_path_factory.mktemp("s3")) as running:
        yield running


def on_s3(job: Object, tmp_path: Path, gateway: s3_gateway.Gateway) -> Object:
    """Return *job* with everything in S3, copied there."""
    prefix = f"s3://{s3_gateway.BUCKET}/{tmp_path.name}"
    storage = open_storage(prefix, gateway.env)
    for path in (tmp_path / "train.jsonl", tmp_path / "validation.jsonl", *(tmp_path / "source").iterdir()):
        storage.upload(f"{prefix}/{path.relative_to(tmp_path)}", path)
    spec: dict[str, Any] = job["spec"]
    spec["storage"] = {"prefix": prefix}
    spec["model"]["source"] = "storage://source"
    spec["data"] |= {"train": "storage://train.jsonl", "validation": "storage://validation.jsonl"}
    return job


def test_sound_job_on_s3_passes(job: Object, tmp_path: Path, gateway: s3_gateway.Gateway) -> None:
    """The same holds for a job whose inputs are in S3."""
    code, result = run(on_s3(job, tmp_path, gateway), tmp_path, gateway.env)
    assert (code, result.failure) == (0, None)
    assert "train: 60 examples can be read" in result.details
    assert [path for path in gateway.data.rglob("preflight*") if path.is_file()] == []


def test_unreachable_storage_asks_for_a_retry(job: Object, tmp_path: Path, gateway: s3_gateway.Gateway) -> None:
    """Storage where nobody listens is 75 and named once, although data and model are there too."""
    endpoint = f"http://127.0.0.1:{s3_gateway.free_port()}"
    code, result = run(on_s3(job, tmp_path, gateway), tmp_path, {**gateway.env, "AWS_ENDPOINT_URL": endpoint})
    assert (code, result.failure and result.failure.reason) == (75, "StorageUnavailable")
    assert message_of(result).count(f"cannot reach {endpoint}") == 1


def test_wrong_credentials_are_the_users(job: Object, tmp_path: Path, gateway: s3_gateway.Gateway) -> None:
    """A wrong key is 42 and says which Secret to look at, without the key."""
    env = {**gateway.env, "AWS_SECRET_ACCESS_KEY": "very-wrong"}
    code, result = run(on_s3(job, tmp_path, gateway), tmp_path, env)
    assert (code, result.failure and result.failure.reason) == (42, "StorageRefused")
    assert message_of(result).startswith("spec.storage: ")
    assert "wrong credentials" in message_of(result)
    assert "very-wrong" not in message_of(result)


def test_every_problem_is_listed(job: Object, tmp_path: Path) -> None:
    """Problems with data and model are all in the one message, each with its field."""
    (tmp_path / "train.jsonl").write_text('{"text": "a", "label": "x"}\nnot json\n')
    (tmp_path / "validation.jsonl").unlink()
    (tmp_path / "source" / "config.json").unlink()
    code, result = run(job, tmp_path)
    assert (code, result.failure and result.failure.reason) == (42, "SeveralProblems")
    for part in ("(1) spec.data.train: ", "train.jsonl", "(2) spec.data.validation: ", "(3) spec.model.source: "):
        assert part in message_of(result)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([{"text": "a", "label": "good"}], "expected at least two"),
        ([{"text": "a"}, {"text": "b"}], "label"),
        ([], "is empty"),
    ],
    ids=["one-label", "no-label", "empty"],
)
def test_bad_training_data(job: Object, tmp_path: Path, rows: list[dict[str, str]], part: str) -> None:
    """Data that training could not use is found."""
    write_rows(tmp_path / "train.jsonl", rows)
    code, result = run(job, tmp_path)
    assert code == 42
    assert "spec.data.train" in message_of(result)
    assert part in message_of(result)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "found"])
def test_unknown_label_is_found(job: Object, tmp_path: Path, listed: bool) -> None:
    """A held-out label that is not among the model's labels, listed or found in training, is a problem with its line."""
    if listed:
        job["spec"]["model"]["labels"] = ["good", "bad"]
    write_rows(tmp_path / "validation.jsonl", [*toy_rows(3, seed=5), {"text": "a", "label": "ugly"}])
    code, result = run(job, tmp_path)
    assert code == 42
    assert "ugly" in message_of(result)
    assert "validation.jsonl" in message_of(result)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"max_position_embeddings": 8}, "spec.data.maxSequenceLength: got 16"),
    ],
)
def test_unfit_model(job: Object, tmp_path: Path, change: dict[str, object], part: str) -> None:
    """A model that cannot be trained is found by its config."""
    config = tmp_path / "source" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    code, result = run(job, tmp_path)
    assert code == 42
    assert part in message_of(result)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ({"source": "preset://bert-tiny"}, None),
        ({"source": "preset://bert-huge"}, "preset 'bert-huge' is unknown"),
        ({"source": "preset://bert-tiny", "vocabulary": {"source": "file:///absent/vocab.txt"}}, "does not exist"),
    ],
    ids=["known", "unknown", "no-vocabulary"],
)
def test_preset(job: Object, tmp_path: Path, model: dict[str, Any], part: str | None) -> None:
    """A preset needs no files, but its name and the vocabulary it is given must be right."""
    job["spec"]["model"] |= model
    code, result = run(job, tmp_path)
    assert code == (42 if part else 0)
    assert part is None or part in message_of(result)


def test_own_script_brings_its_own_reader(job: Object, tmp_path: Path) -> None:
    """For an own script the data must be there, but its rows, and a model of the hub, are the script's affair."""
    job["spec"]["training"]["command"] = ["train.py"]
    job["spec"]["model"]["source"] = "hf://org/name"
    (tmp_path / "train.jsonl").write_text("anything")
    assert run(job, tmp_path)[0] == 0
    (tmp_path / "train.jsonl").unlink()
    assert run(job, tmp_path)[0] == 42


def test_invalid_spec(job: Object, tmp_path: Path) -> None:
    """Every error of the spec is in the message."""
    job["spec"]["training"] |= {"epochs": 0, "batchSize": -1}
    code, result = run(job, tmp_path)
    assert code == 42
    assert "spec.training.epochs" in message_of(result)
    assert "spec.training.batchSize" in message_of(result)


def test_operator_of_another_contract_is_named(tmp_path: Path) -> None:
    """An image that would misread what the operator hands over says so before anything is looked at."""
    code, result = preflight.run({names.SPEC_FILE_ENV: str(tmp_path / "absent"), names.CONTRACT_ENV: "999"})
    assert code == termination.USER_ERROR
    assert result.failure is not None
    assert result.failure.reason == "VersionMismatch"
    assert f"contract {CONTRACT}, the operator contract 999" in result.failure.message


@pytest.mark.parametrize("env", [{}, {names.SPEC_FILE_ENV: "/does/not/exist"}])
def test_broken_start_is_no_traceback(env: dict[str, str]) -> None:
    """A start without the operator's environment is a sentence and asks for a retry."""
    code, result = preflight.run(env)
    assert (code, result.failure and result.failure.reason) == (75, "PreflightCrashed")


def test_the_users_problem_decides() -> None:
    """One problem of the user makes the whole 42, whatever else asks for a retry; equal sentences stand once."""
    away = Problem(code=75, reason="StorageUnavailable", message="away")
    wrong = Problem(code=42, reason="InvalidData", message="wrong")
    assert preflight.failed([away])[0] == 75
    code, result = preflight.failed([away, wrong, wrong])
    assert (code, result.failure and result.failure.reason) == (42, "InvalidData")
    assert message_of(result) == "(1) away; (2) wrong"
