"""
An own script's checkpoints in storage.

Every folder directly in the script's checkpoint folder is a checkpoint. One that has not changed between two looks is copied;
its manifest goes last and is the commit. Files of one copy stand below a token of their own, so that a folder which the script
writes again never mixes with what was there.
"""

import json
import logging
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertjob_api.digest import canonical_json
from bertjob_api.manifest import MANIFEST, CorruptError, FileEntry
from bertjob_storage import folders, parallel, uris
from bertjob_storage.protocol import NotFoundError, Storage, StorageError

UNFINISHED: Final = "checkpoint-is-incomplete.txt"
"""While a folder holds this file, it is no checkpoint (Source: transformers 5, ``trainer_jit_checkpoint``)."""
LOOK_S: Final = 2.0
"""Time in which a folder must not change to count as complete; far longer than the pause between two files of one save."""

_log = logging.getLogger(__name__)
_Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """A committed checkpoint."""

    name: str
    token: str
    written: float
    files: tuple[FileEntry, ...]

    def to_json(self) -> bytes:
        entries = [{"path": each.path, "sha256": each.sha256, "size_bytes": each.size_bytes} for each in self.files]
        return canonical_json({"token": self.token, "written": self.written, "files": entries})

    @classmethod
    def from_json(cls, name: str, data: bytes) -> "_Copy":
        try:
            value: Mapping[str, Any] = json.loads(data)
            files = tuple(FileEntry(**each) for each in value["files"])
            return cls(name=name, token=str(value["token"]), written=float(value["written"]), files=files)
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptError(f"checkpoint {name}: its {MANIFEST} cannot be read ({error})") from error


class Mirror:
    """The checkpoint folder of one pod, and its committed copies."""

    def __init__(self, storage: Storage, uri: str, folder: Path, *, keep: int) -> None:
        """
        Prepare; nothing is read or written yet.

        Args:
            storage: serves *uri*.
            uri: folder of the copies.
            folder: the script's.
            keep: newest copies that stay, at least 1.

        """
        self._storage = storage
        self._uri = uri
        self._folder = folder
        self._keep = keep
        self._seen: dict[str, _Signature] = {}
        self._copied: dict[str, _Signature] = {}
        self._next = 0.0

    def restore(self) -> tuple[str, ...]:
        """Make the folder hold exactly the committed checkpoints, the newest last; half-written ones go. Raises StorageError."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        restored = []
        for copy in self._copies():
            try:
                self._download(copy)
            except (CorruptError, NotFoundError) as error:
                _log.warning("checkpoint %s is not used: %s", copy.name, error)
                shutil.rmtree(self._folder / copy.name, ignore_errors=True)
            else:
                restored.append(copy.name)
                self._copied[copy.name] = _signature(self._folder / copy.name)
        return tuple(restored)

    def look(self) -> None:
        """Copy what has not changed since the last look; at most one look in ``LOOK_S``. A failure is tried again."""
        if time.monotonic() < self._next:
            return
        try:
            now = self._signatures()
            settled = [name for name, signature in now.items() if signature and self._seen.get(name) == signature]
            self._seen = now
            self._copy(now, settled)
        except (StorageError, OSError) as error:  # the script removes checkpoints when it likes
            _log.warning("a checkpoint was not copied: %s; tried again", error)
        self._next = time.monotonic() + LOOK_S

    def finish(self) -> None:
        """Copy everything: the script has ended by itself, so what it wrote is complete. Raises StorageError."""
        self._seen = now = self._signatures()
        self._copy(now, [name for name, signature in now.items() if signature])

    def _copy(self, now: Mapping[str, _Signature], names: list[str]) -> None:
        for name in names:
            if self._copied.get(name) != now[name]:
                self._upload(name)
                self._copied[name] = now[name]
                self._expire(kept=set(now))

    def _upload(self, name: str) -> None:
        source, token = self._folder / name, secrets.token_hex(4)
        copy = _Copy(name=name, token=token, written=time.time(), files=folders.file_entries(source))
        parallel.each(
            copy.files, lambda entry: self._storage.upload(self._place(copy, entry.path), source / entry.path)
        )
        if _signature(source) != self._seen.get(name, _signature(source)):
            return  # it changed meanwhile: a later look copies it
        self._storage.put(uris.join(self._uri, name, MANIFEST), copy.to_json())
        _log.info("checkpoint %s is in storage", name)

    def _expire(self, *, kept: set[str]) -> None:
        """Remove copies beyond the newest, or that the script has removed; and what no manifest names."""
        copies = self._copies()
        stay = {copy.name: copy.token for copy in copies[-self._keep :] if copy.name in kept}
        for entry in sorted(self._storage.list(f"{self._uri}/"), key=lambda each: not each.uri.endswith(MANIFEST)):
            name, _, rest = entry.uri.removeprefix(f"{self._uri}/").partition("/")
            if name not in stay or (rest != MANIFEST and not rest.startswith(f"{stay[name]}/")):
                self._storage.delete(entry.uri)

    def _copies(self) -> list[_Copy]:
        """Return the committed copies, the newest last."""
        found = []
        for entry in self._storage.list(f"{self._uri}/"):
            name, _, rest = entry.uri.removeprefix(f"{self._uri}/").partition("/")
            if rest == MANIFEST:
                try:
                    found.append(_Copy.from_json(folders.safe_path(name), self._storage.get(entry.uri)))
                except CorruptError as error:
                    _log.warning("%s", error)
        return sorted(found, key=lambda copy: (copy.written, copy.name))

    def _download(self, copy: _Copy) -> None:
        target = self._folder / copy.name

        def get(entry: FileEntry) -> None:
            path = target / folders.safe_path(entry.path)
            self._storage.download(self._place(copy, entry.path), path)
            folders.check_file(path, entry, where=copy.name)

        parallel.each(copy.files, get)

    def _place(self, copy: _Copy, path: str) -> str:
        return uris.join(self._uri, copy.name, copy.token, path)

    def _signatures(self) -> dict[str, _Signature]:
        if not self._folder.is_dir():
            return {}
        return {path.name: _signature(path) for path in sorted(self._folder.iterdir()) if path.is_dir()}


def _signature(folder: Path) -> _Signature:
    """Return names, sizes and times of all files; () while there is none, while they vanish, or while the script says so."""
    try:
        found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    except FileNotFoundError:
        return ()
    if any(path == folder / UNFINISHED for path, _ in found):
        return ()
    return tuple((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns) for path, stat in found)
