"""A folder as object storage, for runs without a cluster; all writers are on one machine."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bertjob_storage import files, uris
from bertjob_storage.protocol import Entry, NotFoundError, PreconditionError

_HASHED_BYTES: Final = 64 * 1024
"""Up to this size an etag is the content's digest; above, hashing at each listing would cost more than it gives."""


class LocalStorage:
    """Objects are files; a conditional write holds a lock on the folder between looking and renaming."""

    def get(self, uri: str) -> bytes:
        """See ``Storage.get``."""
        with files.translated(uri):
            return uris.path_of(uri).read_bytes()

    def etag(self, uri: str) -> str | None:
        """See ``Storage.etag``."""
        with files.translated(uri):
            return _etag(uris.path_of(uri))

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``Storage.put``."""
        path = uris.path_of(uri)
        with files.translated(uri), _replacing(path) as temporary:
            temporary.write_bytes(data)
            files.sync(temporary)
            with _locked(path.parent):
                found = _etag(path)
                if if_absent and found is not None:
                    raise PreconditionError(f"{uri}: exists already; nothing was written")
                if if_match is not None and found != if_match:
                    raise PreconditionError(f"{uri}: was changed by another writer; read it again")
                temporary.replace(path)
                written = _etag(path)
            files.sync(path.parent)
        assert written is not None
        return written

    def upload(self, uri: str, path: Path) -> None:
        """See ``Storage.upload``."""
        target = uris.path_of(uri)
        with files.translated(uri), _replacing(target) as temporary:
            shutil.copyfile(path, temporary)
            files.sync(temporary)
            with _locked(target.parent):
                temporary.replace(target)
            files.sync(target.parent)

    def download(self, uri: str, path: Path) -> None:
        """See ``Storage.download``."""
        source = uris.path_of(uri)
        with files.translated(uri), source.open("rb"):
            pass  # an absent source is about the URI; what fails below is about the target
        with files.translated(path), files.appearing(path) as temporary:
            shutil.copyfile(source, temporary)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See ``Storage.list``."""
        with files.translated(prefix):
            start = uris.path_of(prefix)
            folder, beginning = (start, "") if prefix.endswith("/") else (start.parent, start.name)
            found = {f"file://{path}": path for path in _files_below(folder, beginning=beginning)}
        for uri in sorted(found):
            with suppress(FileNotFoundError):  # deleted meanwhile: not there
                yield Entry(uri, found[uri].stat().st_size, _etag(found[uri]) or "")

    def delete(self, uri: str) -> None:
        """See ``Storage.delete``."""
        path = uris.path_of(uri)
        with suppress(NotFoundError), files.translated(uri), _locked(path.parent):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()  # fails, as it should, unless the folder is empty


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    temporary = files.unfinished(path)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone; the lock is the kernel's, so a killed holder leaves none behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _etag(path: Path) -> str | None:
    try:
        stat = path.stat()
        if not path.is_file():
            return None
        if stat.st_size <= _HASHED_BYTES:
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def _files_below(folder: Path, *, beginning: str) -> Iterator[Path]:
    """Yield the files of *folder* whose path within it starts with *beginning*, without walking the other subfolders."""
    for parent, subfolders, members in os.walk(folder):
        if Path(parent) == folder:
            subfolders[:] = [name for name in subfolders if name.startswith(beginning)]
            members[:] = [name for name in members if name.startswith(beginning)]
        for name in members:
            if not name.startswith(files.HIDDEN):
                yield Path(parent) / name
