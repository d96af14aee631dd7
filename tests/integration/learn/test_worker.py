"""The training worker as a process, from files to a published model."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from support import workers
from support.progress import ProgressServer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bertjob_api import layout, names
from bertjob_api.termination import EVICTED, OK, USER_ERROR
from bertjob_storage import folders
from bertjob_storage.opening import open_storage
from bertjob_storage.uris import path_of


def test_trains_publishes_and_does_nothing_the_second_time(tmp_path: Path) -> None:
    """A toy set is learnt; the published folder is a Hugging Face model; starting again trains 0 steps."""
    job = workers.a_toy_job(tmp_path)

    ((code, log),) = workers.run(tmp_path, job)

    assert code == OK, log
    result = workers.result_of(tmp_path)
    assert result.artifact is not None
    assert result.metrics is not None
    assert (result.steps, result.trained_steps) == (64, 64)
    assert result.metrics["accuracy"] >= 0.95
    uri = result.artifact.uri
    manifest = folders.fetch(open_storage(uri), uri, tmp_path / "copy", result.artifact.sha256)
    assert (manifest.role, manifest.labels, manifest.max_sequence_length) == ("trained", ("bad", "good"), 16)
    _holds_a_model_for_transformers(tmp_path / "copy", accuracy=result.metrics["accuracy"])
    report = path_of(layout.report_uri(uri)).read_text()
    assert f"<b>{result.metrics['accuracy']:.4f}</b>" in report
    assert "confusion" in report

    ((code, log),) = workers.run(tmp_path, job)

    assert code == OK, log
    again = workers.result_of(tmp_path)
    assert (again.trained_steps, again.steps, again.artifact) == (0, 64, result.artifact)


def _holds_a_model_for_transformers(folder: Path, *, accuracy: float) -> None:
    """Assert that transformers loads the folder and predicts the validation rows as the trainer measured."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModelForSequenceClassification.from_pretrained(str(folder)).eval()
    rows = workers.toy_rows(20, seed=2)
    with torch.no_grad():
        logits = model(**tokenizer([row["text"] for row in rows], return_tensors="pt", padding=True)).logits
    found = [model.config.id2label[int(number)] for number in logits.argmax(dim=-1)]
    hits = sum(label == row["label"] for label, row in zip(found, rows, strict=True))
    assert hits / len(rows) == accuracy
    card = json.loads((folder / "model-card.json").read_text())
    assert (card["labels"], card["metrics"]["accuracy"]) == (["bad", "good"], accuracy)


def test_model_of_a_damaged_commit_is_trained_again(tmp_path: Path) -> None:
    """A committed model that lost a file does not count; training again gives the same digest."""
    job = workers.a_toy_job(tmp_path, epochs=1)
    assert workers.run(tmp_path, job)[0][0] == OK
    first = workers.result_of(tmp_path)
    assert first.artifact is not None
    (path_of(first.artifact.uri) / "model.safetensors").unlink()

    ((code, log),) = workers.run(tmp_path, job)

    assert code == OK, log
    again = workers.result_of(tmp_path)
    assert (again.trained_steps, again.artifact) == (8, first.artifact)
    assert (path_of(first.artifact.uri) / "model.safetensors").is_file()


def _lose_text(folder: Path) -> None:
    workers.write_rows(folder / "train.jsonl", [*workers.toy_rows(5, seed=1), {"label": "good"}])


def _lose_weights(folder: Path) -> None:
    (folder / "source" / "model.safetensors").unlink()


def _unknown_label(folder: Path) -> None:
    workers.write_rows(folder / "validation.jsonl", [{"text": "x", "label": "ugly"}])


@pytest.mark.parametrize(
    ("damage", "training", "reason", "words"),
    [
        (_lose_text, {}, "InvalidData", "train.jsonl:6: has no column 'text'"),
        (_unknown_label, {}, "InvalidData", "validation.jsonl:1: got the label 'ugly'"),
        (_lose_weights, {}, "InvalidModel", "has no model.safetensors"),
        (lambda _folder: None, {"precision": "fp16"}, "Unsupported", "fp16"),
        (lambda _folder: None, {"learningRate": 1e30, "warmupRatio": 0}, "NonFiniteLoss", "step 2"),
    ],
    ids=["data", "label", "model", "unsupported", "diverged"],
)
def test_user_errors_end_with_one_sentence(
    damage: Any, training: dict[str, Any], reason: str, words: str, tmp_path: Path
) -> None:
    """Bad input ends with exit code 42, a reason and one line that says what to change."""
    job = workers.a_toy_job(tmp_path, **training)
    damage(tmp_path)

    ((code, log),) = workers.run(tmp_path, job)

    failure = workers.result_of(tmp_path).failure
    assert code == USER_ERROR, log
    assert failure is not None
    assert (failure.reason, failure.rank) == (reason, 0)
    assert words in failure.message
    assert "\n" not in failure.message
    assert "Traceback" not in log


def test_sigterm_saves_and_the_next_worker_goes_on(tmp_path: Path) -> None:
    """SIGTERM ends with 143 after a checkpoint; a new worker resumes there and ends with the model of an unbroken run."""
    job = workers.a_toy_job(tmp_path, checkpoint={"every": "1000 steps"})
    with ProgressServer() as server:
        worker = workers.start(workers.environment(tmp_path, job, **{names.PROGRESS_URL_ENV: server.url}))
        server.wait_for(lambda report: (report.step or 0) >= 1)
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate(timeout=120)
        assert worker.returncode == EVICTED, log

        ((code, log),) = workers.run(tmp_path, job, **{names.PROGRESS_URL_ENV: server.url})
        assert code == OK, log
        last = server.wait_for(lambda report: report.step == 64)

    result = workers.result_of(tmp_path)
    assert last.resumed_from_step is not None
    assert 1 <= last.resumed_from_step < 64
    assert result.trained_steps == 64 - last.resumed_from_step
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    assert workers.run(unbroken, workers.a_toy_job(unbroken))[0][0] == OK
    expected = workers.result_of(unbroken).artifact
    assert result.artifact is not None
    assert expected is not None
    weights = [path_of(found.uri) / "model.safetensors" for found in (result.artifact, expected)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_two_workers_train_the_model_of_one(tmp_path: Path) -> None:
    """Two processes end together with the same result, and with weights that differ from one process's by rounding only."""
    folders_ = [tmp_path / "one", tmp_path / "two"]
    for folder in folders_:
        folder.mkdir()
    jobs = [workers.a_toy_job(folder, epochs=2, dropout=0.1) for folder in folders_]

    ((alone, log),) = workers.run(folders_[0], jobs[0])
    together = workers.run(folders_[1], jobs[1], world=2)

    assert alone == OK, log
    assert [code for code, _ in together] == [OK, OK], together
    results = [workers.result_of(folder) for folder in folders_]
    assert not (folders_[1] / "result-1.json").exists()
    states = []
    for result in results:
        assert result.artifact is not None
        states.append(
            AutoModelForSequenceClassification.from_pretrained(str(path_of(result.artifact.uri))).state_dict()
        )
    for name, expected in states[0].items():
        torch.testing.assert_close(states[1][name], expected, atol=1e-5, rtol=1e-5, msg=name)
