"""The published folder and its commit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.jobs import a_job
from support.models import CONFIG, a_model_folder
from torch import nn

from bertjob_api.job import parse_job
from bertjob_api.manifest import ModelManifest
from bertjob_api.spec import Head
from bertjob_api.status import Artifact
from bertjob_api.termination import Result
from bertjob_storage.local import LocalStorage
from bertjob_tasks import registry
from bertjob_trainer import commits, export, heads
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.export import Trained

LABELS = ("bad", "good")
TASK = registry.task_of("sequence-classification", None)


def trained(folder: Path) -> Trained:
    """Return what is known of a model of a job that stores below *folder*."""
    return Trained(
        job=parse_job(a_job(storage={"prefix": f"file://{folder}/storage"}), local=True),
        run="run-1",
        task=TASK,
        labels=LABELS,
        digests={"model": "m", "train": "t", "validation": "v"},
        metrics={"accuracy": 0.5},
        steps=3,
    )


def written(folder: Path, name: str = "model") -> tuple[Path, ModelManifest]:
    """Return a written folder and its manifest."""
    source = folder / "source"
    if not source.is_dir():
        source.mkdir()
        a_model_folder(source)
    model: nn.Module = heads.build(BertConfig.from_dict(CONFIG), num_labels=2, head=Head(), seed=1)
    return folder / name, export.write(model, trained(folder), source=source, folder=folder / name)


def test_same_training_gives_the_same_digest(tmp_path: Path) -> None:
    """Nothing of time or place is in the folder."""
    assert written(tmp_path, "a")[1].sha256 == written(tmp_path, "b")[1].sha256


def test_folder_holds_model_tokenizer_and_card(tmp_path: Path) -> None:
    """Every file is in the manifest; the config names the labels and the card where the model comes from."""
    folder, manifest = written(tmp_path)

    names = {entry.path for entry in manifest.files}
    assert names == {"config.json", "model-card.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"}
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good"}
    assert config["architectures"] == ["BertForSequenceClassification"]
    card = json.loads((folder / "model-card.json").read_text())
    assert (card["data"], card["sourceModel"]) == ({"train": "t", "validation": "v"}, "m")


def test_hidden_head_has_a_name_of_its_own() -> None:
    """A model that others would load without its head's layers does not call itself theirs."""
    config = export.exported_config(CONFIG, task=TASK, labels=LABELS, head=Head(layers=2, hidden_size=64))

    assert config["architectures"] == ["BertJobForSequenceClassification"]
    assert config["bertjob_head"] == {"layers": 2, "hidden_size": 64}


def published(folder: Path) -> tuple[LocalStorage, Artifact, str]:
    """Return storage with a published model, and the URI of its run."""
    path, manifest = written(folder)
    storage = LocalStorage()
    artifact = commits.publish(storage, trained(folder).job, path, manifest)
    return storage, artifact, f"file://{folder}/storage/run-1"


def test_run_is_committed_once(tmp_path: Path) -> None:
    """Nothing is committed before the commit; afterwards its result is found, with no step trained."""
    storage, artifact, run = published(tmp_path)
    assert commits.committed(storage, run) is None
    result = Result(artifact=artifact, metrics={"accuracy": 0.5}, steps=3, trained_steps=3)

    assert commits.commit(storage, run, result) == result

    assert commits.committed(storage, run) == replace(result, trained_steps=0)


def test_first_of_two_commits_counts(tmp_path: Path) -> None:
    """Two attempts that end together report the same model: the one that was committed first."""
    storage, artifact, run = published(tmp_path)
    first = commits.commit(storage, run, Result(artifact=artifact, steps=3, trained_steps=3))

    late = commits.commit(storage, run, Result(artifact=replace(artifact, sha256="0" * 64), steps=3, trained_steps=1))

    assert late.artifact == first.artifact


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_unreadable_commit_counts_as_none(content: bytes, tmp_path: Path) -> None:
    """A commit that cannot be read is trained again, not trusted."""
    storage, _, run = published(tmp_path)
    storage.put(f"{run}/model.json", content)

    assert commits.committed(storage, run) is None
