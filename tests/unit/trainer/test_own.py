"""Own scripts: their checkpoints' way to storage and back, and what they may leave as a model."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.jobs import a_job
from support.models import a_model_folder

from bertjob_api import names
from bertjob_api.job import parse_job
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import Storage
from bertjob_tasks.errors import ModelFolderError
from bertjob_trainer.own import mirror, model, places
from bertjob_trainer.own.mirror import Mirror
from bertjob_trainer.own.script import argv_of


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Storage, str]:
    """Give storage and the folder of the copies."""
    uri = f"file://{tmp_path}/storage/own-checkpoints"
    return open_storage(uri), uri


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look whenever asked."""
    monkeypatch.setattr(mirror, "LOOK_S", 0.0)


def save(folder: Path, name: str, content: str = "x") -> None:
    """Write a checkpoint as a script would."""
    (folder / name / "sub").mkdir(parents=True, exist_ok=True)
    (folder / name / "sub" / "weights").write_text(content)
    (folder / name / "state.json").write_text("{}")


def restored(opened: tuple[Storage, str], folder: Path) -> list[str]:
    """Return what another pod gets."""
    return list(Mirror(*opened, folder, keep=9).restore())


def test_checkpoint_travels_once_it_no_longer_changes(tmp_path: Path, opened: tuple[Storage, str]) -> None:
    """The first look only sees it, the second copies it, and another pod gets it with its contents."""
    source = Mirror(*opened, tmp_path / "a", keep=2)
    assert source.restore() == ()
    save(tmp_path / "a", "checkpoint-10")
    source.look()
    assert restored(opened, tmp_path / "b") == []
    source.look()

    assert restored(opened, tmp_path / "b") == ["checkpoint-10"]
    assert (tmp_path / "b" / "checkpoint-10" / "sub" / "weights").read_text() == "x"


def test_half_written_checkpoint_is_gone_after_a_kill(tmp_path: Path, opened: tuple[Storage, str]) -> None:
    """A restart finds what is committed and nothing that a killed script was writing."""
    source = Mirror(*opened, tmp_path / "a", keep=2)
    source.restore()
    save(tmp_path / "a", "checkpoint-10")
    source.finish()
    save(tmp_path / "a", "checkpoint-20")

    assert restored(opened, tmp_path / "a") == ["checkpoint-10"]
    assert not (tmp_path / "a" / "checkpoint-20").exists()


def test_checkpoint_that_says_it_is_unfinished_is_none(tmp_path: Path, opened: tuple[Storage, str]) -> None:
    """While the script's own mark stands in a folder it is never copied, however still it lies; without the mark it is."""
    source = Mirror(*opened, tmp_path / "a", keep=2)
    source.restore()
    save(tmp_path / "a", "checkpoint-10")
    (tmp_path / "a" / "checkpoint-10" / mirror.UNFINISHED).write_text("in progress")
    for _ in range(3):
        source.look()
    source.finish()
    assert restored(opened, tmp_path / "b") == []
    (tmp_path / "a" / "checkpoint-10" / mirror.UNFINISHED).unlink()
    source.finish()

    assert restored(opened, tmp_path / "b") == ["checkpoint-10"]


def test_written_again_and_removed(tmp_path: Path, opened: tuple[Storage, str]) -> None:
    """The newest content of a name counts, what the script removed goes, and no file without a manifest stays."""
    source = Mirror(*opened, tmp_path / "a", keep=2)
    source.restore()
    for name, content in (("one", "1"), ("last", "2"), ("last", "3")):
        save(tmp_path / "a", name, content)
        source.finish()
    (tmp_path / "a" / "one" / "state.json").unlink()
    (tmp_path / "a" / "one" / "sub" / "weights").unlink()
    (tmp_path / "a" / "one" / "sub").rmdir()
    (tmp_path / "a" / "one").rmdir()
    save(tmp_path / "a", "last", "44")
    source.finish()

    assert restored(opened, tmp_path / "b") == ["last"]
    assert (tmp_path / "b" / "last" / "sub" / "weights").read_text() == "44"
    assert len(list((tmp_path / "storage").rglob("weights"))) == 1


def test_only_the_newest_copies_stay(tmp_path: Path, opened: tuple[Storage, str]) -> None:
    """``checkpoint.keep`` bounds what a script that never removes anything takes in storage."""
    source = Mirror(*opened, tmp_path / "a", keep=2)
    source.restore()
    for step in range(1, 6):
        save(tmp_path / "a", f"checkpoint-{step}")
        source.finish()

    assert restored(opened, tmp_path / "b") == ["checkpoint-4", "checkpoint-5"]


def test_damaged_copy_is_passed_over(tmp_path: Path, opened: tuple[Storage, str]) -> None:
    """A file that is not what the manifest says never reaches the script."""
    source = Mirror(*opened, tmp_path / "a", keep=2)
    source.restore()
    for step in (1, 2):
        save(tmp_path / "a", f"checkpoint-{step}")
        source.finish()
    (damaged,) = (tmp_path / "storage").glob("**/checkpoint-2/*/sub/weights")
    damaged.write_text("y")

    assert restored(opened, tmp_path / "b") == ["checkpoint-1"]


@pytest.mark.parametrize(
    ("own", "argv"),
    [
        (("train.py", "--lr", "1"), (sys.executable, "train.py", "--lr", "1")),
        (("-m", "my.train"), (sys.executable, "-m", "my.train")),
        (("--no-python", "/bin/train", "x"), ("/bin/train", "x")),
    ],
)
def test_command_is_read_as_torchrun_reads_it(own: tuple[str, ...], argv: tuple[str, ...]) -> None:
    """A script, a module or any program."""
    assert argv_of(own) == argv


def an_output(folder: Path, **config: Any) -> Path:
    """Return what a good script leaves, with a file that must not be published."""
    folder.mkdir()
    changes = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}, **config}
    a_model_folder(folder, **changes)
    (folder / "training_args.bin").write_text("a pickle")
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "note": "x"}))
    return folder


def test_model_is_collected_without_strangers(tmp_path: Path) -> None:
    """Weights, config and tokenizer are published with the model's own labels, pickled files are not."""
    output = an_output(tmp_path / "output")
    manifest = model.collect(parse_job(a_job()), output, tmp_path / "model", run="run-1", source=None)

    assert manifest.labels == ("bad", "good")
    assert {entry.path for entry in manifest.files} == {
        "config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"
    }  # fmt: skip
    assert model.metrics(output) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("config", "spec", "words"),
    [
        ({"architectures": ["BertForTokenClassification"]}, {}, "expected BertForSequenceClassification"),
        ({}, {"model": {"labels": ["good", "bad"]}}, "has the labels bad, good, spec.model.labels says good, bad"),
        (None, {}, "holds nothing, expected model.safetensors"),
    ],
    ids=["another head", "another order", "nothing"],
)
def test_model_that_does_not_fit_is_refused(
    config: dict[str, Any] | None, spec: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """One sentence says what the script left, and what is expected."""
    output = tmp_path / "output"
    if config is not None:
        an_output(output, **config)

    with pytest.raises(ModelFolderError, match=words):
        model.collect(parse_job(a_job(**spec)), output, tmp_path / "model", run="run-1", source=None)


def test_changed_script_is_another_run(tmp_path: Path) -> None:
    """The digest of the script is one of the run's inputs."""
    data, script = tmp_path / "train.jsonl", tmp_path / "train.py"
    data.write_text("{}\n")
    job = parse_job(a_job(model={"source": "hf://a/b"}))
    inputs = places.Inputs(data={"train": data, "validation": data}, model=None)
    script.write_text("1")
    before = places.digests(job, inputs, [str(script)])
    script.write_text("2")

    assert places.digests(job, inputs, [str(script)]) != before
    assert inputs.env() == {names.OWN_TRAIN_ENV: str(data), names.OWN_VALIDATION_ENV: str(data)}
