"""
What is where in a run's checkpoint folder, and which of it counts. Pure.

A checkpoint is a folder ``step-00000500`` with shards, metadata and, last, ``manifest.json``. Names of the files hold a
random token, so that two writers of one step never touch each other's files and a commit never names a file that is being rewritten.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from bertjob_api.digest import canonical_json
from bertjob_api.layout import step_of
from bertjob_api.manifest import MANIFEST, CheckpointManifest, CorruptError
from bertjob_storage.protocol import Entry, StorageError

LATEST: Final = "LATEST"
SHARD_BYTES: Final = 256 * 1024 * 1024
"""Large enough for parallel parts, small enough that several upload at once and little scratch space is taken."""


class FencedError(StorageError):
    """A newer attempt of the same run writes checkpoints; this one must not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Content of ``LATEST``: the newest commit of the newest attempt."""

    attempt: int
    step: int

    def to_json(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json({"attempt": self.attempt, "step": self.step})

    @classmethod
    def from_json(cls, data: bytes) -> Self | None:
        """Return the pointer, or None when *data* is none."""
        try:
            value = json.loads(data)
            return cls(attempt=int(value["attempt"]), step=int(value["step"]))
        except (ValueError, TypeError, KeyError):
            return None


def outdated(pointer: Pointer | None, *, attempt: int) -> bool:
    """Return whether a newer attempt has taken over."""
    return pointer is not None and pointer.attempt > attempt


def moves(current: Pointer | None, new: Pointer, *, damaged: Collection[int] = ()) -> bool:
    """Return whether ``LATEST`` must become *new*; *damaged* are steps whose checkpoints were found unusable."""
    if current is None or current.attempt < new.attempt:
        return True
    return current.attempt == new.attempt and (current.step < new.step or current.step in damaged)


def by_step(entries: Iterable[Entry], *, root: str) -> dict[int, dict[str, int]]:
    """Return the sizes of the files of every checkpoint folder below *root*: step -> file name -> bytes."""
    found: dict[int, dict[str, int]] = {}
    for entry in entries:
        folder, _, name = entry.uri.removeprefix(f"{root.rstrip('/')}/").partition("/")
        step = step_of(folder)
        if step is not None and name:
            found.setdefault(step, {})[name] = entry.size_bytes
    return found


def committed(folders: Mapping[int, Mapping[str, int]]) -> tuple[int, ...]:
    """Return the steps whose folders have a manifest, newest first."""
    return tuple(sorted((step for step, files in folders.items() if MANIFEST in files), reverse=True))


def expired(
    folders: Mapping[int, Mapping[str, int]], *, keep: int, damaged: Collection[int] = (), pinned: Collection[int] = ()
) -> tuple[int, ...]:
    """
    Return the steps whose folders may go, oldest first.

    Kept are the *keep* newest committed ones that are not known to be damaged, and every folder newer than the newest of
    them: an upload may be under way there. Without a sound commit nothing goes, and what is *pinned* never does.

    Args:
        folders: as ``by_step`` gives them.
        keep: at least 1.
        damaged: steps that were found unusable.
        pinned: steps that are kept however old they are.

    """
    assert keep >= 1
    sound = [step for step in committed(folders) if step not in damaged]
    if not sound:
        return ()
    kept = {*sound[:keep], *(step for step in pinned if step in sound)}
    return tuple(sorted(step for step in folders if step < sound[0] and step not in kept))


def shards(sizes: Mapping[str, int], *, limit_bytes: int = SHARD_BYTES) -> tuple[tuple[str, ...], ...]:
    """Return the names in groups of at most *limit_bytes*, in order; a larger item has a group of its own."""
    groups: list[tuple[str, ...]] = []
    room = 0
    for name, size in sizes.items():
        if groups and size <= room:
            groups[-1] = (*groups[-1], name)
            room -= size
        else:
            groups.append((name,))
            room = limit_bytes - size
    return tuple(groups)


def shard_name(index: int, *, token: str) -> str:
    """Return the file name of a shard."""
    return f"shard-{index:05d}-{token}.safetensors"


def meta_name(token: str) -> str:
    """Return the file name of the metadata of one writer."""
    return f"meta-{token}.json"


def header_of(manifest: CheckpointManifest) -> dict[str, Any]:
    """
    Return the fields of the manifest that the metadata repeats.

    The metadata's digest stands in the manifest, so that a manifest with a flipped digit is found out although nothing covers
    the manifest itself.
    """
    return {
        "step": manifest.step,
        "total_steps": manifest.total_steps,
        "run": manifest.run,
        "attempt": manifest.attempt,
        "world_size": manifest.world_size,
        "samples_seen": manifest.samples_seen,
    }


def checked(data: bytes, *, step: int, run: str, files: Mapping[str, int]) -> CheckpointManifest:
    """
    Return the manifest of a folder after every check that needs no download.

    Args:
        data: content of its ``manifest.json``.
        step: step in the folder's name.
        run: run that wants to resume.
        files: sizes of the folder's files.

    Raises:
        CorruptError: says what is wrong.

    """
    manifest = CheckpointManifest.from_json(data)
    if _canonical(manifest) != data:
        raise CorruptError(f"{MANIFEST}: is not spelled as it was written")
    if manifest.step != step:
        raise CorruptError(f"{MANIFEST}: is of step {manifest.step}, expected {step}")
    if manifest.run != run:
        raise CorruptError(f"{MANIFEST}: belongs to run {manifest.run}, expected {run}; each run has its own folder")
    for entry in manifest.files:
        if entry.path not in files:
            raise CorruptError(f"{entry.path}: is missing")
        if files[entry.path] != entry.size_bytes:
            raise CorruptError(f"{entry.path}: has {files[entry.path]} bytes, expected {entry.size_bytes}")
    return manifest


def _canonical(manifest: CheckpointManifest) -> bytes | None:
    try:
        return manifest.to_json()
    except (TypeError, ValueError, AttributeError):
        return None
