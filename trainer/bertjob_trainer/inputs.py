"""The inputs of a training run: model folder and examples, on this machine, named by their digests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertjob_api import layout
from bertjob_api.job import BertJob
from bertjob_api.spec import Data
from bertjob_tasks import registry, rows
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.errors import DataError, ModelFolderError
from bertjob_tasks.task import Features, Task
from bertjob_trainer import sources
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.data import Dataset
from bertjob_trainer.evaluate import HeldOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the inputs lie on this machine."""

    model: Path
    train: Path
    validation: Path
    test: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The encoded examples of a job."""

    task: Task[Any]
    labels: tuple[str, ...]
    """In the order of the model's outputs; () for a task without."""
    train: Dataset
    validation: HeldOut
    test: HeldOut | None


def fetch(job: BertJob, scratch: Path) -> None:
    """
    Copy the remote inputs into *scratch*.

    Raises:
        DataError: something is not there.
        StorageError: something cannot be fetched now.

    """
    for name, uri in _data_uris(job).items():
        sources.fetch_data(uri, scratch=scratch / name)
    sources.fetch_model(_source(job), prefix=job.spec.storage.prefix, scratch=scratch / "model")


def locate(job: BertJob, scratch: Path) -> Paths:
    """Return where the inputs lie once ``fetch`` is done; raises DataError for what is missing."""
    found = {
        name: sources.data_path(uri, field=f"spec.data.{name}", scratch=scratch / name)
        for name, uri in _data_uris(job).items()
    }
    return Paths(
        model=sources.model_folder(_source(job), scratch=scratch / "model"),
        train=found["train"],
        validation=found["validation"],
        test=found.get("test"),
    )


def _source(job: BertJob) -> str:
    return layout.resolve(job.spec.model.source, prefix=job.spec.storage.prefix)


def _data_uris(job: BertJob) -> Mapping[str, str]:
    data = job.spec.data
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: layout.resolve(uri, prefix=job.spec.storage.prefix) for name, uri in named.items() if uri}


def digests(paths: Paths, data: Data) -> Mapping[str, str]:
    """Return the sha256 of each input, as ``layout.run_id`` wants them."""
    return {
        "model": sources.digest(sources.model_files(paths.model)),
        "train": sources.digest(rows.files(paths.train, data.format)),
        "validation": sources.digest(rows.files(paths.validation, data.format)),
    }


def encode(paths: Paths, job: BertJob, *, config: BertConfig) -> Examples:
    """
    Return the job's examples as token ids.

    Raises:
        DataError: a row, a label or a length does not fit.

    """
    data = job.spec.data
    if data.max_sequence_length > config.max_position_embeddings:
        got, most = data.max_sequence_length, config.max_position_embeddings
        raise DataError(f"spec.data.maxSequenceLength: got {got}, the model has {most} positions; lower it")
    encoder = Encoder.from_folder(paths.model, max_length=data.max_sequence_length, stride=data.stride)
    if encoder.vocab_size > config.vocab_size:
        got, most = encoder.vocab_size, config.vocab_size
        raise ModelFolderError(f"model folder: the tokenizer has {got} tokens, config.json {most}; files do not match")
    task = registry.of_spec(job.spec.model)
    if len(task.inputs) > config.type_vocab_size:
        got = config.type_vocab_size
        raise ModelFolderError(f"config.json: type_vocab_size is {got}, pairs of texts need 2; use another model")
    train = list(task.read(paths.train, data, labels=job.spec.model.labels))
    names = job.spec.model.labels or task.discover(train)

    def held_out(path: Path) -> HeldOut:
        features = task.encode(list(task.read(path, data, labels=names)), names, encoder=encoder)
        return HeldOut(_dataset(features, task, encoder), features)

    return Examples(
        task=task,
        labels=names,
        train=_dataset(task.encode_training(train, names, encoder=encoder), task, encoder),
        validation=held_out(paths.validation),
        test=held_out(paths.test) if paths.test else None,
    )


def _dataset(features: Features, task: Task[Any], encoder: Encoder) -> Dataset:
    return Dataset.of(features.inputs, features.targets, pad_id=encoder.pad_id, per_token=task.has_token_targets)
