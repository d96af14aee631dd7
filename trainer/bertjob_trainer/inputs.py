"""The inputs of a training run: model folder and examples, on this machine, named by their digests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertjob_api import layout
from bertjob_api.digest import sha256_of, short
from bertjob_api.job import BertJob
from bertjob_api.parse import dump
from bertjob_api.spec import Data, Masking, Vocabulary
from bertjob_tasks import registry, rows
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.errors import DataError, ModelFolderError
from bertjob_tasks.masking import Pieces
from bertjob_tasks.task import Features, Task
from bertjob_trainer import mapped, presets, sources
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.data import Dataset
from bertjob_trainer.evaluate import HeldOut
from bertjob_trainer.hiding import Hiding


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
    hiding: Hiding | None
    """Which tokens are hidden while training; None: the task hides none."""


def fetch(job: BertJob, scratch: Path) -> None:
    """
    Copy the remote inputs into *scratch*.

    Raises:
        DataError: something is not there.
        StorageError: something cannot be fetched now.

    """
    for name, uri in sources.data_uris(job).items():
        sources.fetch_data(uri, scratch=scratch / name)
    preset = presets.name_of(job.spec.model.source)
    if preset is not None:
        _build(preset, job, scratch)
    else:
        sources.fetch_model(sources.model_uri(job), prefix=job.spec.storage.prefix, scratch=scratch / "model")


def _build(preset: str, job: BertJob, scratch: Path) -> None:
    """Make the model folder of a preset, with the vocabulary that is given or learnt."""
    wanted, given = job.spec.model.vocabulary or Vocabulary(), None
    if wanted.source is not None:
        uri = layout.resolve(wanted.source, prefix=job.spec.storage.prefix)
        sources.fetch_data(uri, scratch=scratch / "vocabulary")
        given = sources.vocabulary_path(uri, scratch=scratch / "vocabulary")
    train = sources.data_path(sources.data_uris(job)["train"], field="spec.data.train", scratch=scratch / "train")
    key = sha256_of({"train": sources.digest(rows.files(train, job.spec.data.format)), "spec": dump(job.spec.model)})
    done = scratch / "preset-of"
    if done.is_file() and done.read_text() == key:  # a worker of an earlier round made it
        return
    texts = presets.texts_of(registry.of_spec(job.spec.model), train, job.spec.data, labels=job.spec.model.labels)
    presets.build(preset, folder=scratch / "model", texts=texts, wanted=wanted, given=given)
    done.write_text(key)


def locate(job: BertJob, scratch: Path) -> Paths:
    """Return where the inputs lie once ``fetch`` is done; raises DataError for what is missing."""
    found = {
        name: sources.data_path(uri, field=f"spec.data.{name}", scratch=scratch / name)
        for name, uri in sources.data_uris(job).items()
    }
    return Paths(
        model=sources.model_folder(sources.model_uri(job), scratch=scratch / "model"),
        train=found["train"],
        validation=found["validation"],
        test=found.get("test"),
    )


def digests(paths: Paths, data: Data) -> Mapping[str, str]:
    """Return the sha256 of each input, as ``layout.run_id`` wants them."""
    return {
        "model": sources.digest(sources.model_files(paths.model)),
        "train": sources.digest(rows.files(paths.train, data.format)),
        "validation": sources.digest(rows.files(paths.validation, data.format)),
    }


def encoded_folder(job: BertJob, digests: Mapping[str, str], scratch: Path) -> Path:
    """Return where the encoded training examples of a job belong; other data, model or settings have another folder."""
    spec = {"model": dump(job.spec.model), "data": dump(job.spec.data), "digests": dict(digests)}
    return scratch / "encoded" / short(sha256_of(spec))


def encode(paths: Paths, job: BertJob, *, config: BertConfig, folder: Path) -> Examples:
    """
    Return the job's examples as token ids.

    Args:
        paths: where the inputs lie.
        job: the job.
        config: of the model.
        folder: gets the training examples, or has them already; every process of this machine gives the same.

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
    if config.type_vocab_size < (2 if task.reads == "masked-pairs" else len(task.inputs)):
        got = config.type_vocab_size
        raise ModelFolderError(f"config.json: type_vocab_size is {got}, pairs of texts need 2; use another model")
    mapped.once(folder, lambda: _training(task, paths.train, job, encoder))
    names = mapped.labels_of(folder)

    def held_out(path: Path) -> HeldOut:
        features = task.encode(list(task.read(path, data, labels=names)), names, encoder=encoder)
        return HeldOut(_dataset(features, task, encoder), features)

    return Examples(
        task=task,
        labels=names,
        train=mapped.dataset(folder, pad_id=encoder.pad_id, per_token=task.has_token_targets and not task.hides),
        validation=held_out(paths.validation),
        test=held_out(paths.test) if paths.test else None,
        hiding=_hiding(task, job, encoder),
    )


def _training(task: Task[Any], path: Path, job: BertJob, encoder: Encoder) -> mapped.Encoded:
    """Return the training examples, read and encoded part by part; where labels are not given, read once before for these."""
    data, given = job.spec.data, job.spec.model.labels
    names = given or task.discover(task.read(path, data, labels=None))
    parts = mapped.chunked(task.read(path, data, labels=given))
    return mapped.Encoded(names, (task.encode_training(part, names, encoder=encoder) for part in parts))


def _hiding(task: Task[Any], job: BertJob, encoder: Encoder) -> Hiding | None:
    """Return which tokens are hidden while training; None: the task hides none."""
    if not task.hides:
        return None
    wanted = job.spec.model.masking or Masking()
    return Hiding(
        pieces=Pieces.of(encoder.tokenizer, size=encoder.vocab_size),
        rate=wanted.rate,
        whole_words=wanted.whole_words,
        with_order=task.reads == "masked-pairs",
    )


def _dataset(features: Features, task: Task[Any], encoder: Encoder) -> Dataset:
    return Dataset.of(features.inputs, features.targets, pad_id=encoder.pad_id, per_token=task.has_token_targets)
