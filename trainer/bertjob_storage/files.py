"""Local files that appear complete or not at all."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bertjob_storage.protocol import AccessError, FullError, NotFoundError, StorageError

HIDDEN: Final = ".bertjob-"
"""Beginning of the names of unfinished files; no listing shows them."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_ATTEMPTS: Final = 20


@contextmanager
def translated(where: object) -> Iterator[None]:
    """Turn an ``OSError`` into the storage error that says what happened at *where*."""
    try:
        yield
    except OSError as error:
        raise as_storage_error(error, where) from error


def as_storage_error(error: OSError, where: object) -> StorageError:
    """Return the storage error for what the operating system said about *where*."""
    if error.errno in _FULL:
        return FullError(f"{where}: no space left on the disk ({error.strerror}); free some or choose another place")
    if error.errno in _REFUSED:
        return AccessError(f"{where}: not allowed ({error.strerror}); check owner and permissions")
    if error.errno in _ABSENT:
        return NotFoundError(f"{where}: there is no such file; check the URI, or whether it was written yet")
    return StorageError(f"{where}: {error.strerror or error}; try again, then check the disk")


def unfinished(path: Path) -> Path:
    """Return a new, empty, hidden file in the folder of *path*, which is made when absent."""
    for _ in range(_ATTEMPTS):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{HIDDEN}{secrets.token_hex(8)}"
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except (FileExistsError, FileNotFoundError):
            continue  # a deletion removed the empty folder between the two calls
        return temporary
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give a temporary file to fill; it becomes *path* when the block ends well and vanishes otherwise."""
    temporary = unfinished(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk, so that a power cut cannot undo a rename that was reported."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
