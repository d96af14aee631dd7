"""A served artifact on this machine: proven before it is used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertjob_api.manifest import MANIFEST, CorruptError, FileEntry, ModelManifest
from bertjob_serving import cpu, engine, golden
from bertjob_tasks.errors import UnsupportedError
from bertjob_tasks.registry import task_of
from bertjob_tasks.task import Task

_CHUNK: Final = 1 << 20
_AGAIN: Final = "fetch the artifact again, or run optimize again"


class ArtifactError(ValueError):
    """The artifact must not be served here; the message says what, expected, got and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A verified artifact."""

    folder: Path
    manifest: ModelManifest
    task: Task[Any]
    golden: tuple[golden.Item, ...]
    """Empty when the artifact has none."""

    @property
    def answers_alone(self) -> bool:
        """Return whether one input must be asked at a time; beside others it would be answered otherwise than it was judged."""
        return engine.answers_alone(self.manifest.engine, method=self.manifest.method)


def open_artifact(folder: Path) -> Artifact:
    """
    Return the artifact in *folder*, every digest verified and fit for this engine and CPU.

    Raises:
        ArtifactError: it is damaged, incomplete, of another kind, or made for another engine or CPU.

    """
    manifest = _manifest(folder)
    for entry in manifest.files:
        _verify(folder, entry)
    _fits_engine(manifest)
    missing = sorted(set(manifest.cpu_features) - cpu.features())
    if missing:
        message = f"{folder}: needs the CPU features {', '.join(missing)}, this CPU ({cpu.model()}) lacks them; use a node that has them, or run optimize on this type of node"
        raise ArtifactError(message)
    try:
        items = golden.from_json((folder / manifest.golden).read_bytes()) if manifest.golden else ()
    except CorruptError as error:
        raise ArtifactError(str(error)) from error
    try:
        task = task_of(manifest.task, manifest.problem)
    except UnsupportedError as error:
        message = f"{folder}/{MANIFEST}: the task {manifest.task!r} is not known here; use a newer predictor"
        raise ArtifactError(message) from error
    return Artifact(folder=folder, manifest=manifest, task=task, golden=items)


def check_answers(artifact: Artifact, own: engine.Engine) -> None:
    """Ask the engine the golden set; raises ArtifactError when it answers otherwise than when the artifact was judged."""
    wrong = [
        number
        for number, item in enumerate(artifact.golden)
        if not golden.same_answer(artifact.task, item.served, own.logits_of(golden.ids_of(item)))
    ]
    if wrong:
        message = (
            f"{artifact.folder}: {len(wrong)} of {len(artifact.golden)} golden inputs are answered otherwise than at evaluation "
            f"(first: number {wrong[0]}), expected probabilities within {golden.TOLERANCE}; this CPU or engine computes "
            "something else, use the type of node that optimize ran on"
        )
        raise ArtifactError(message)


def _manifest(folder: Path) -> ModelManifest:
    path = folder / MANIFEST
    try:
        manifest = ModelManifest.from_json(path.read_bytes())
    except FileNotFoundError as error:
        message = (
            f"{path}: there is none, expected the manifest of an artifact; point storageUri at a published artifact"
        )
        raise ArtifactError(message) from error
    except CorruptError as error:
        raise ArtifactError(f"{folder}: {error}") from error
    if manifest.role != "served":
        message = f"{path}: the model's role is {manifest.role!r}, expected 'served'; serve the artifact that optimize published"
        raise ArtifactError(message)
    return manifest


def _verify(folder: Path, entry: FileEntry) -> None:
    path = folder / entry.path
    if not path.resolve().is_relative_to(folder.resolve()):
        message = f"{folder}/{MANIFEST}: names the file {entry.path!r} outside the folder; do not use this artifact"
        raise ArtifactError(message)
    try:
        size, digest = path.stat().st_size, _sha256(path)
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error.strerror}), expected {entry.size_bytes} bytes; {_AGAIN}"
        ) from error
    if size != entry.size_bytes:
        raise ArtifactError(f"{path}: has {size} bytes, expected {entry.size_bytes}; {_AGAIN}")
    if digest != entry.sha256:
        raise ArtifactError(f"{path}: has sha256 {digest}, expected {entry.sha256}; the file is damaged, {_AGAIN}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fits_engine(manifest: ModelManifest) -> None:
    """Refuse another engine, and one older than the artifact: it may lack operations; a newer one proves itself by the golden set."""
    try:
        version = engine.library(manifest.engine).version()
    except engine.MissingEngineError as error:
        raise ArtifactError(f"{MANIFEST}: {error}") from error
    if _release(version) < _release(manifest.engine_version):
        message = f"{MANIFEST}: the artifact was made by {manifest.engine} {manifest.engine_version}, this predictor has the older {version}; use a newer predictor image"
        raise ArtifactError(message)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
