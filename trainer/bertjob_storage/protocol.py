"""
What every program asks of object storage.

URIs are ``s3://bucket/key`` or ``file:///path``. Two implementations, a folder and S3, are held by one contract suite
(``tests/contract/test_storage.py``). What S3 cannot do (rename, append) is not here.

Errors::

    StorageError           asks for a retry: nothing is known about the outcome
    +- NotFoundError       no such object
    +- PreconditionError   the object exists, or is not the expected version
    +- AccessError         refused credentials, bucket or permission; trying again does not help
    +- FullError           no space left
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class StorageError(Exception):
    """Storage did not do what was asked; the message names the URI, the cause and the next step."""


class NotFoundError(StorageError):
    """There is no such object."""


class PreconditionError(StorageError):
    """A conditional write found another state than it was made for."""


class AccessError(StorageError):
    """Credentials, bucket or permissions do not allow this."""


class FullError(StorageError):
    """No space is left."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    uri: str
    size_bytes: int
    etag: str
    """Changes whenever the content does; opaque."""


class Storage(Protocol):
    """Objects by URI; every write is atomic: a reader sees the old object, the new one, or none, never a part."""

    def get(self, uri: str) -> bytes:
        """Return an object's content; raises NotFoundError."""
        ...

    def etag(self, uri: str) -> str | None:
        """Return an object's etag, or None when it does not exist."""
        ...

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """
        Write an object and return its etag.

        Args:
            uri: the object.
            data: its content.
            if_absent: only when it does not exist yet.
            if_match: only when its etag is this one.

        Raises:
            PreconditionError: the condition does not hold; nothing was written.

        """
        ...

    def upload(self, uri: str, path: Path) -> None:
        """Write a local file as an object, in parallel parts where that is faster."""
        ...

    def download(self, uri: str, path: Path) -> None:
        """Write an object to a local file that appears complete or not at all; raises NotFoundError."""
        ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield the objects whose URI begins with *prefix*, sorted by URI."""
        ...

    def delete(self, uri: str) -> None:
        """Remove an object; one that is gone already is no error."""
        ...
