"""
What must hold before a node is asked for: storage takes writes, data can be read, the model is one that can be trained.

Each check returns the problems it found, in the words that the user will see, and raises nothing that it expects.
"""

import itertools
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertjob_api import layout, termination
from bertjob_api.job import BertJob
from bertjob_api.manifest import CorruptError
from bertjob_storage import folders, uris
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import AccessError, FullError, NotFoundError, PreconditionError, Storage, StorageError
from bertjob_tasks import registry, tokenizer_files
from bertjob_tasks.errors import DataError, ModelFolderError, UnsupportedError
from bertjob_trainer import bert_config, hub, presets, sources

_READ_BYTES: Final = 64 * 1024 * 1024
"""Larger data is not read here: copying it would take longer than it takes to notice a bad row in training."""
_TABLE: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (AccessError, termination.USER_ERROR, "StorageRefused"),
    (NotFoundError, termination.USER_ERROR, "NotFound"),
    (FullError, termination.RETRY, "StorageFull"),
    (StorageError, termination.RETRY, "StorageUnavailable"),
    (UnsupportedError, termination.USER_ERROR, "Unsupported"),
    (ModelFolderError, termination.USER_ERROR, "InvalidModel"),
    (DataError, termination.USER_ERROR, "InvalidData"),
    (CorruptError, termination.USER_ERROR, "CorruptModel"),
    (ValueError, termination.USER_ERROR, "InvalidInput"),
)
EXPECTED: Final = tuple(kind for kind, _, _ in _TABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as it must be."""

    code: int
    """Exit code it asks for."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the checks found."""

    problems: tuple[Problem, ...] = ()
    facts: tuple[str, ...] = ()
    """What is well, for the reader: one sentence each."""

    def __add__(self, other: "Report") -> "Report":
        return Report(problems=self.problems + other.problems, facts=self.facts + other.facts)


def problem_of(error: Exception, *, field: str) -> Problem:
    """Return the problem that an expected exception stands for; *field* is the spec's field it is about."""
    code, reason = next((code, reason) for kind, code, reason in _TABLE if isinstance(error, kind))
    text = " ".join(str(error).split())
    return Problem(code=code, reason=reason, message=text if text.startswith("spec.") else f"{field}: {text}")


def check(job: BertJob, *, env: Mapping[str, str]) -> Report:
    """Return what every check found; storage that does not answer is named once and not asked again."""
    stored = _guarded("spec.storage", lambda: storage(job, env=env))
    prefix_scheme = uris.scheme_of(job.spec.storage.prefix)

    def silent(uri: str) -> bool:
        """Return whether asking for *uri* would only repeat what is known to fail."""
        return bool(stored.problems) and uris.scheme_of(_resolved(job, uri)) == prefix_scheme == "s3"

    found = stored
    with tempfile.TemporaryDirectory(prefix="bertjob-preflight-") as scratch:
        if not (silent(job.spec.data.train) and silent(job.spec.data.validation)):
            found += data(job, scratch=Path(scratch), env=env)
        if not silent(job.spec.model.source):
            found += _guarded("spec.model.source", lambda: model(job, scratch=Path(scratch) / "model", env=env))
    return found


def storage(job: BertJob, *, env: Mapping[str, str]) -> Report:
    """Return whether the job's folder takes, gives and removes an object, and honours conditions."""
    root = layout.job_root(job)
    store = open_storage(root, env)
    probe, content = uris.join(root, f"preflight-{secrets.token_hex(8)}"), b"bertjob"
    store.put(probe, content, if_absent=True)
    try:
        return _probed(store, probe, content, prefix=job.spec.storage.prefix)
    finally:
        store.delete(probe)


def _probed(store: Storage, probe: str, content: bytes, *, prefix: str) -> Report:
    got = store.get(probe)
    if got != content:
        raise StorageError(f"{probe}: {len(content)} bytes were written and {got[:20]!r} came back; look at the server")
    try:
        store.put(probe, b"second", if_absent=True)
    except PreconditionError:
        return Report(facts=(f"storage {prefix} takes and gives objects",))
    raise ValueError(
        f"{prefix}: the server ignores If-None-Match, so two writers could spoil a checkpoint; use one that honours conditional "
        "writes (AWS S3, MinIO, Ceph, versitygw do)"
    )


def data(job: BertJob, *, scratch: Path, env: Mapping[str, str]) -> Report:
    """Return what is wrong with the examples: absent, empty, unreadable rows, labels that training does not know."""
    given = job.spec.data
    known, found = job.spec.model.labels, Report()
    for name, uri in (("train", given.train), ("validation", given.validation), ("test", given.test)):
        if uri is None:
            continue
        try:
            report, seen = _examples(job, name, scratch=scratch, env=env, known=known)
        except EXPECTED as error:
            found += Report(problems=(problem_of(error, field=f"spec.data.{name}"),))
            continue
        found += report
        known = seen if name == "train" else known
    return found


def _examples(
    job: BertJob, name: str, *, scratch: Path, env: Mapping[str, str], known: tuple[str, ...] | None
) -> tuple[Report, tuple[str, ...] | None]:
    """Return what is well with one set of examples, and its labels where they are not *known* and training would find them."""
    uri = _resolved(job, getattr(job.spec.data, name))
    size = _size(uri, env)
    own_script = job.spec.training.command is not None
    if own_script or size > _READ_BYTES:
        return Report(facts=(f"{name}: {size} bytes are there, rows not looked at",)), known
    if uris.scheme_of(uri) == "s3":
        folders.download(open_storage(uri, env), uri, scratch / name)
    path = sources.data_path(uri, field=f"spec.data.{name}", scratch=scratch / name)
    task = registry.of_spec(job.spec.model)
    examples = _Counted(task.read(path, job.spec.data, labels=known))
    if known is None and name == "train":
        known = task.discover(examples)
    for _ in examples:
        pass
    return Report(facts=(f"{name}: {examples.count} examples can be read",)), known


class _Counted(Iterator[Any]):
    """Counts the examples that pass through, since training data may be too large to keep."""

    def __init__(self, examples: Iterator[Any]) -> None:
        self.count = 0
        self._examples = examples

    def __next__(self) -> Any:
        example = next(self._examples)
        self.count += 1
        return example


def _size(uri: str, env: Mapping[str, str]) -> int:
    bare = uri.rstrip("/")
    entries = open_storage(uri, env).list(bare)
    sizes = [entry.size_bytes for entry in entries if entry.uri == bare or entry.uri.startswith(f"{bare}/")]
    if not sizes:
        raise NotFoundError(f"{uri}: there is nothing; check the URI, or copy the data there")
    if not sum(sizes):
        raise DataError(f"{uri}: is empty, expected at least one row")
    return sum(sizes)


def model(job: BertJob, *, scratch: Path, env: Mapping[str, str]) -> Report:
    """Return whether the model's folder has a BERT config, weights and a tokenizer; weights are not copied."""
    source = _resolved(job, job.spec.model.source)
    if job.spec.training.command is not None and uris.scheme_of(source) in ("hf", "preset"):
        return Report(facts=(f"model {source} is left to the own script",))
    preset = presets.name_of(source)
    if preset is not None:
        return _preset(preset, job, scratch=scratch, env=env)
    if source.startswith(f"{hub.SCHEME}://"):
        names = hub.fetch(source, scratch, wanted=_is_small, env=env)
    elif uris.scheme_of(source) == "s3":
        names = _copy_small_files(source, scratch, env=env)
    else:
        folder = sources.model_folder(source, scratch=scratch)
        scratch, names = folder, {path.name for path in folder.iterdir()}
    config = bert_config.BertConfig.from_dict(bert_config.read(scratch))
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelFolderError(
            f"{source}: has no .safetensors file; save the model with save_pretrained(safe_serialization=True)"
        )
    tokenizer_files.load(scratch)
    return _sized(job, config)


def _sized(job: BertJob, config: bert_config.BertConfig) -> Report:
    """Return how large the model is; raises DataError where texts may be longer than it takes."""
    if job.spec.data.max_sequence_length > config.max_position_embeddings:
        got, most = job.spec.data.max_sequence_length, config.max_position_embeddings
        raise DataError(f"spec.data.maxSequenceLength: got {got}, the model has {most} positions; lower it")
    layers, width = config.num_hidden_layers, config.hidden_size
    return Report(facts=(f"model {job.spec.model.source} is a BERT of {layers} layers, {width} wide",))


def _preset(name: str, job: BertJob, *, scratch: Path, env: Mapping[str, str]) -> Report:
    """Return whether there is such a preset, and its vocabulary where it is not learnt from the training texts."""
    config = bert_config.preset(name, vocab_size=1)
    wanted = job.spec.model.vocabulary
    if wanted is not None and wanted.source is not None:
        uri = _resolved(job, wanted.source)
        if uris.scheme_of(uri) == "s3":
            folders.download(open_storage(uri, env), uri, scratch)
        given = sources.vocabulary_path(uri, scratch=scratch)
        presets.build(name, folder=scratch.with_name("preset"), texts=tuple, wanted=wanted, given=given)
    return _sized(job, config)


def _is_small(name: str) -> bool:
    """Return whether a model's file tells what it is, weights not included."""
    return name in {bert_config.CONFIG, *tokenizer_files.NAMES}


def _copy_small_files(source: str, scratch: Path, *, env: Mapping[str, str]) -> set[str]:
    """Copy config and tokenizer of a stored model and return the names of all its files."""
    store, base = open_storage(source, env), f"{source.rstrip('/')}/"
    names = {entry.uri.removeprefix(base) for entry in itertools.islice(store.list(base), 1000)}
    if not names:
        raise NotFoundError(f"{source}: there is nothing; check the URI, or copy the model there")
    for name in filter(_is_small, sorted(names)):
        store.download(f"{base}{name}", scratch / name)
    return names


def _resolved(job: BertJob, uri: str) -> str:
    return layout.resolve(uri, prefix=job.spec.storage.prefix)


def _guarded(field: str, look: Callable[[], Report]) -> Report:
    try:
        return look()
    except EXPECTED as error:
        return Report(problems=(problem_of(error, field=field),))
