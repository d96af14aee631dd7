"""Writing one checkpoint: files first, manifest last, then the pointer, then retention."""

import logging
import secrets
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bertjob_api.digest import canonical_json, sha256_of
from bertjob_api.layout import step_folder
from bertjob_api.manifest import MANIFEST, CheckpointManifest, CorruptError, FileEntry
from bertjob_api.progress import Committed
from bertjob_storage import parallel, uris
from bertjob_storage.protocol import NotFoundError, PreconditionError, Storage, StorageError
from bertjob_trainer.checkpoint import layout, tensorfile

_log = logging.getLogger(__name__)
_POINTER_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A checkpoint to be written."""

    header: CheckpointManifest
    """Without files."""
    tensors: Mapping[str, torch.Tensor]
    """Contiguous, on the CPU, unchanged until it is written."""
    meta: Mapping[str, Any]
    """JSON values; ``pinned`` among them lists older steps whose checkpoints are still needed."""
    records: Mapping[str, bytes] = field(default_factory=dict)
    """Other files of the run that must be there before the commit: URI -> content."""


def write(storage: Storage, root: str, draft: Draft, *, keep: int, damaged: Collection[int]) -> Committed:
    """
    Write and commit *draft*, move ``LATEST``, delete what has expired, and return the commit.

    When the step is committed already (by another writer of the same run), that one counts and nothing is replaced.

    Args:
        storage: serves *root*.
        root: folder of the run's checkpoints.
        draft: what to write.
        keep: committed checkpoints to keep.
        damaged: steps that were found unusable; they are replaced.

    Raises:
        FencedError: a newer attempt has taken over; nothing was committed.
        StorageError: not committed; files without a manifest do not count and go with the next retention.

    """
    refuse_outdated(_pointer(storage, root)[0], draft.header)
    folder = uris.join(root, step_folder(draft.header.step))
    written = _upload(storage, folder, draft)
    for uri, content in draft.records.items():
        storage.put(uri, content)
    if not _commit(storage, folder, written, replace=draft.header.step in damaged):
        for entry in written.files:
            storage.delete(uris.join(folder, entry.path))
    done = Committed(step=written.step, uri=folder, time=time.time())
    _point(storage, root, written, damaged=[step for step in damaged if step != written.step])
    pinned = draft.meta.get("pinned", ())
    _expire(storage, root, keep=keep, damaged=[step for step in damaged if step != written.step], pinned=pinned)
    return done


def refuse_outdated(pointer: layout.Pointer | None, header: CheckpointManifest) -> None:
    """Raise FencedError when a newer attempt than that of *header* writes checkpoints."""
    if layout.outdated(pointer, attempt=header.attempt):
        assert pointer is not None
        raise layout.FencedError(
            f"checkpoints of {header.run}: attempt {pointer.attempt} has taken over, this is attempt {header.attempt}; "
            "end this process, its work goes on there"
        )


def _upload(storage: Storage, folder: str, draft: Draft) -> CheckpointManifest:
    token = secrets.token_hex(4)
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in draft.tensors.items()}
    with tempfile.TemporaryDirectory(prefix="bertjob-checkpoint-") as scratch:

        def send(numbered: tuple[int, tuple[str, ...]]) -> FileEntry:
            index, group = numbered
            path = Path(scratch) / layout.shard_name(index, token=token)
            entry = tensorfile.write(path, {name: draft.tensors[name] for name in group})
            storage.upload(uris.join(folder, entry.path), path)
            path.unlink()
            return entry

        entries = parallel.each(enumerate(layout.shards(sizes)), send)
    meta = canonical_json({"checkpoint": layout.header_of(draft.header), "meta": dict(draft.meta)})
    name = layout.meta_name(token)
    storage.put(uris.join(folder, name), meta)
    meta_entry = FileEntry(path=name, sha256=sha256_of(meta), size_bytes=len(meta))
    fields = layout.header_of(draft.header)
    return CheckpointManifest(files=(*entries, meta_entry), **fields)


def _commit(storage: Storage, folder: str, manifest: CheckpointManifest, *, replace: bool) -> bool:
    """Write the manifest and return True, or False when a sound one is there already."""
    target = uris.join(folder, MANIFEST)
    try:
        storage.put(target, manifest.to_json(), if_absent=True)
    except PreconditionError:
        etag = storage.etag(target)
        if not replace and _is_of(storage, target, manifest.run):
            return False
        storage.put(target, manifest.to_json(), if_match=etag)
    return True


def _is_of(storage: Storage, target: str, run: str) -> bool:
    try:
        return CheckpointManifest.from_json(storage.get(target)).run == run
    except (CorruptError, NotFoundError):
        return False


def _pointer(storage: Storage, root: str) -> tuple[layout.Pointer | None, str | None]:
    """Return the pointer and its etag; an unreadable one counts as none."""
    target = uris.join(root, layout.LATEST)
    etag = storage.etag(target)
    if etag is None:
        return None, None
    return layout.Pointer.from_json(storage.get(target)), etag


def _point(storage: Storage, root: str, manifest: CheckpointManifest, *, damaged: Collection[int]) -> None:
    """Move ``LATEST`` to *manifest* unless it is further; raises FencedError."""
    new = layout.Pointer(attempt=manifest.attempt, step=manifest.step)
    target = uris.join(root, layout.LATEST)
    for _ in range(_POINTER_ATTEMPTS):
        current, etag = _pointer(storage, root)
        refuse_outdated(current, manifest)
        if not layout.moves(current, new, damaged=damaged):
            return
        try:
            storage.put(target, new.to_json(), if_absent=etag is None, if_match=etag)
        except PreconditionError:
            continue  # another writer was faster: look again
        return
    raise StorageError(f"{target}: changed {_POINTER_ATTEMPTS} times while it was written; two jobs share this folder")


def _expire(storage: Storage, root: str, *, keep: int, damaged: Collection[int], pinned: Collection[int]) -> None:
    """Delete expired checkpoints, the manifest of each first, so that none is ever committed and incomplete."""
    try:
        found = layout.by_step(storage.list(f"{root}/"), root=root)
        for step in layout.expired(found, keep=keep, damaged=damaged, pinned=pinned):
            folder = uris.join(root, step_folder(step))
            for name in sorted(found[step], key=lambda name: name != MANIFEST):
                storage.delete(uris.join(folder, name))
    except StorageError as error:  # the commit stands; the next one cleans up
        _log.warning("old checkpoints stay for now: %s", error)
