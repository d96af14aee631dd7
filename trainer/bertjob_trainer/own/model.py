"""What an own script has trained, as a published model."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors

from bertjob_api import names
from bertjob_api.job import BertJob
from bertjob_api.manifest import ModelManifest
from bertjob_storage import folders
from bertjob_tasks import registry, tokenizer_files
from bertjob_tasks.errors import ModelFolderError
from bertjob_tasks.task import Task
from bertjob_trainer import bert_config

WEIGHTS = "model.safetensors"
METRICS = "metrics.json"


def collect(job: BertJob, output: Path, folder: Path, *, run: str, source: Path | None) -> ModelManifest:
    """
    Copy the files of a Hugging Face folder that a model needs, and return the manifest to publish them with.

    Args:
        job: its task decides what the model must be.
        output: what the script left.
        folder: new folder for the copy.
        run: name of the run.
        source: model the script started from, whose tokenizer is taken when the script left none; None: it has none here.

    Raises:
        ModelFolderError: the script left no model, or one that does not fit the task.

    """
    if not (output / WEIGHTS).is_file():
        found = ", ".join(sorted(path.name for path in output.iterdir())) if output.is_dir() else ""
        raise ModelFolderError(
            f"{names.OWN_OUTPUT_ENV}: holds {found or 'nothing'}, expected {WEIGHTS}; let rank 0 call "
            f"model.save_pretrained(os.environ['{names.OWN_OUTPUT_ENV}']) and the tokenizer's too"
        )
    config = bert_config.read(output)
    task = registry.of_spec(job.spec.model)
    labels = _labels(job, task, config)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, bert_config.CONFIG):
        shutil.copyfile(output / name, folder / name)
    tokenizer = output if any((output / name).is_file() for name in tokenizer_files.NAMES) else source
    for name in tokenizer_files.NAMES:
        if tokenizer is not None and (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    tokenizer_files.load(folder)  # raises for one that the predictor could not read
    return ModelManifest(
        role="trained",
        task=task.name,
        problem=task.problem,
        labels=labels,
        max_sequence_length=job.spec.data.max_sequence_length,
        stride=job.spec.data.stride,
        engine="safetensors",
        engine_version=safetensors.__version__,
        method="fp32",
        files=folders.file_entries(folder),
        origin={"run": run},
    )


def _labels(job: BertJob, task: Task[Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    architectures = config.get("architectures") or ()
    if task.architecture not in architectures:
        raise ModelFolderError(
            f"{names.OWN_OUTPUT_ENV}/config.json: is of a {', '.join(architectures) or 'nameless model'}, expected "
            f"{task.architecture} for spec.model.task {task.name}; save that model"
        )
    if not task.has_labels:
        return ()
    named = config.get("id2label") or {}
    labels = tuple(str(named.get(str(number))) for number in range(len(named)))
    wanted = job.spec.model.labels
    if wanted is not None and labels != wanted:
        raise ModelFolderError(
            f"{names.OWN_OUTPUT_ENV}/config.json: has the labels {', '.join(labels)}, spec.model.labels says "
            f"{', '.join(wanted)}; give the model id2label in that order"
        )
    return labels


def metrics(output: Path) -> Mapping[str, float] | None:
    """Return the finite numbers in ``metrics.json``, which a script may leave beside its model; None: it left none."""
    try:
        value = json.loads((output / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict):
        return None
    return {
        str(name): float(number)
        for name, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    }
