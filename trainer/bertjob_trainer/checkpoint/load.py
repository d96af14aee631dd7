"""Finding and reading checkpoints: the newest that is committed, complete and intact."""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bertjob_api.layout import step_folder
from bertjob_api.manifest import MANIFEST, CheckpointManifest, CorruptError, FileEntry
from bertjob_storage import folders, parallel, uris
from bertjob_storage.protocol import NotFoundError, Storage
from bertjob_trainer.checkpoint import layout, tensorfile

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look into the checkpoint folder gave."""

    manifest: CheckpointManifest | None
    """The newest committed and complete one; None: there is none."""
    damaged: tuple[int, ...]
    """Newer steps that are committed and unusable."""


def newest(storage: Storage, root: str, *, run: str, damaged: Collection[int] = ()) -> Found:
    """
    Return the newest checkpoint after every check that needs no download; a warning says why newer ones were passed over.

    Args:
        storage: serves *root*.
        root: folder of the run's checkpoints.
        run: only checkpoints of this run count.
        damaged: steps known to be unusable.

    """
    listed = layout.by_step(storage.list(f"{root}/"), root=root)
    bad: list[int] = []
    for step in layout.committed(listed):
        if step in damaged:
            continue
        folder = uris.join(root, step_folder(step))
        try:
            data = storage.get(uris.join(folder, MANIFEST))
            return Found(manifest=layout.checked(data, step=step, run=run, files=listed[step]), damaged=tuple(bad))
        except (CorruptError, NotFoundError) as error:
            warn(folder, error)
            bad.append(step)
    return Found(manifest=None, damaged=tuple(bad))


def at(storage: Storage, root: str, *, step: int, run: str) -> CheckpointManifest:
    """Return the committed checkpoint of one step. Raises NotFoundError, CorruptError."""
    folder = uris.join(root, step_folder(step))
    listed = layout.by_step(storage.list(f"{folder}/"), root=root)
    data = storage.get(uris.join(folder, MANIFEST))
    return layout.checked(data, step=step, run=run, files=listed.get(step, {}))


def warn(folder: str, error: Exception) -> None:
    """Log that a checkpoint is passed over, and why."""
    _log.warning("checkpoint %s is not used: %s; the next older one is tried", folder, error)


def download(storage: Storage, folder: str, manifest: CheckpointManifest, *, into: Path) -> None:
    """Copy a checkpoint's files to the local folder *into*, every digest verified. Raises CorruptError, NotFoundError."""

    def get(entry: FileEntry) -> None:
        path = into / folders.safe_path(entry.path)
        storage.download(uris.join(folder, entry.path), path)
        folders.check_file(path, entry, where=folder)

    parallel.each(manifest.files, get)


def read(manifest: CheckpointManifest, *, folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return tensors and metadata of a downloaded checkpoint. Raises CorruptError."""
    tensors: dict[str, torch.Tensor] = {}
    for entry in manifest.files:
        if entry.path.endswith(".safetensors"):
            tensors |= tensorfile.read(folder / entry.path)
    return tensors, read_meta(manifest, folder=folder)


def read_meta(manifest: CheckpointManifest, *, folder: Path) -> dict[str, Any]:
    """Return the metadata of a downloaded checkpoint, which must repeat the manifest's fields. Raises CorruptError."""
    names = [entry.path for entry in manifest.files if entry.path.endswith(".json")]
    if len(names) != 1:
        raise CorruptError(f"{MANIFEST}: names {len(names)} metadata files, expected 1")
    content = _decoded((folder / names[0]).read_bytes(), name=names[0])
    if content.get("checkpoint") != layout.header_of(manifest):
        raise CorruptError(
            f"{MANIFEST}: says {layout.header_of(manifest)}, but the data was written as {content.get('checkpoint')}"
        )
    meta: dict[str, Any] = content["meta"]
    return meta


def _decoded(data: bytes, *, name: str) -> Mapping[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise CorruptError(f"{name}: is not JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("meta"), dict):
        raise CorruptError(f"{name}: expected an object with meta, got {str(content)[:80]}")
    return content
