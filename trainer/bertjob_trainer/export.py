"""
The trained model as a Hugging Face folder.

The same training gives the same bytes: no time, host or path stands in any file.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import nn

from bertjob_api import contract
from bertjob_api.job import BertJob
from bertjob_api.manifest import ModelManifest
from bertjob_api.spec import Head
from bertjob_storage import folders
from bertjob_tasks import tokenizer_files
from bertjob_tasks.task import Task
from bertjob_trainer import bert_config, weights

CARD = "model-card.json"
HEAD = "bertjob_head"
"""Key of ``config.json`` that describes the head's hidden layers; absent without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What is known of a trained model beside its weights."""

    job: BertJob
    run: str
    """Name of the training run."""
    task: Task[Any]
    labels: tuple[str, ...]
    digests: Mapping[str, str]
    """sha256 of each input."""
    metrics: Mapping[str, float]
    steps: int


def write(model: nn.Module, trained: Trained, *, source: Path, folder: Path) -> ModelManifest:
    """
    Write the model to *folder* and return the manifest to publish it with.

    Args:
        model: weights, on any device.
        trained: labels, metrics and origin.
        source: folder the model started from; its config and tokenizer are carried over.
        folder: made when absent; must be empty.

    """
    folder.mkdir(parents=True, exist_ok=True)
    bare = "bert." if trained.task.architecture == "BertModel" else ""
    state = {name.removeprefix(bare): tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / weights.WEIGHTS, metadata={"format": "pt"})
    config = exported_config(
        bert_config.read(source), task=trained.task, labels=trained.labels, head=trained.job.spec.model.head
    )
    _write_json(folder / bert_config.CONFIG, config)
    _write_json(folder / CARD, _card(trained))
    length = trained.job.spec.data.max_sequence_length
    for name, value in trained.task.files(hidden_size=config["hidden_size"], max_length=length).items():
        (folder / name).parent.mkdir(exist_ok=True)
        _write_json(folder / name, value)
    for name in tokenizer_files.NAMES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    return ModelManifest(
        role="trained",
        task=trained.task.name,
        problem=trained.task.problem,
        labels=trained.labels,
        max_sequence_length=trained.job.spec.data.max_sequence_length,
        stride=trained.job.spec.data.stride,
        engine="safetensors",
        engine_version=safetensors.__version__,
        method="fp32",
        files=folders.file_entries(folder),
        origin={"run": trained.run},
    )


def exported_config(
    source: Mapping[str, Any], *, task: Task[Any], labels: tuple[str, ...], head: Head
) -> dict[str, Any]:
    """
    Return ``config.json`` of the trained model; outputs without labels are called as transformers calls them.

    With hidden head layers the architecture has a name of its own, so that nothing else loads it with a head left out.
    """
    replaced = ("_name_or_path", "torch_dtype", "num_labels", "problem_type", "id2label", "label2id")
    kept = {key: value for key, value in source.items() if key not in replaced}
    names = labels or tuple(f"LABEL_{number}" for number in range(task.width(labels)))
    architecture = task.architecture.replace("BertFor", "BertJobFor") if head.layers else task.architecture
    hidden = {HEAD: {"layers": head.layers, "hidden_size": head.hidden_size}} if head.layers else {}
    return {
        **kept,
        "architectures": [architecture],
        "model_type": "bert",
        "dtype": "float32",
        **({"problem_type": task.problem_type} if task.problem_type is not None else {}),
        **(_named(names) if names else {}),
        **hidden,
    }


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": {str(number): label for number, label in enumerate(names)},
        "label2id": {label: number for number, label in enumerate(names)},
    }


def _card(trained: Trained) -> dict[str, Any]:
    training = trained.job.spec.training
    return {
        "task": trained.job.spec.model.task,
        "source": trained.job.spec.model.source,
        "labels": list(trained.labels),
        "metrics": dict(trained.metrics),
        "data": {name: trained.digests[name] for name in ("train", "validation")},
        "sourceModel": trained.digests["model"],
        "training": {
            "steps": trained.steps,
            "epochs": training.epochs,
            "batchSize": training.batch_size,
            "learningRate": training.learning_rate,
            "seed": training.seed,
        },
        "code": {"bertjob": contract.release()},
    }


def _write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
