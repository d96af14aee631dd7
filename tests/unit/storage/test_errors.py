"""What goes wrong with storage is said with its cause and the next step."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support import s3_gateway

from bertjob_storage import files, open_storage
from bertjob_storage.protocol import AccessError, FullError, NotFoundError, StorageError
from bertjob_storage.s3_errors import from_response


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_gateway.Gateway]:
    with s3_gateway.running(tmp_path_factory.mktemp("s3")) as running:
        yield running


URI = f"s3://{s3_gateway.BUCKET}/x"


def test_unreachable_endpoint() -> None:
    """An endpoint where nothing listens asks for a retry and is named."""
    endpoint = f"http://127.0.0.1:{s3_gateway.free_port()}"
    storage = open_storage(URI, {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    with pytest.raises(StorageError, match=f"cannot reach {endpoint}") as caught:
        storage.get(URI)
    assert type(caught.value) is StorageError


@pytest.mark.parametrize("change", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "nobody"}])
def test_wrong_credentials(gateway: s3_gateway.Gateway, change: dict[str, str]) -> None:
    """A wrong key is called wrong credentials and is not worth a retry."""
    with pytest.raises(AccessError, match="wrong credentials"):
        open_storage(URI, {**gateway.env, **change}).get(URI)


def test_absent_bucket(gateway: s3_gateway.Gateway) -> None:
    """A bucket that does not exist is named, for reading, listing and writing."""
    storage = open_storage(URI, gateway.env)
    for use in (storage.get, lambda uri: list(storage.list(uri)), lambda uri: storage.put(uri, b"")):
        with pytest.raises(AccessError, match="there is no bucket 'absent-bucket'"):
            use("s3://absent-bucket/x")


@pytest.mark.parametrize(
    ("code", "kind", "part"),
    [
        ("AccessDenied", AccessError, "no permission for PutObject"),
        ("403", AccessError, "no permission"),
        ("QuotaExceeded", FullError, "storage is full"),
        ("XMinioStorageFull", FullError, "storage is full"),
        ("404", NotFoundError, "no such object"),
        ("ExpiredToken", AccessError, "wrong credentials"),
        ("SlowDown", StorageError, "PutObject failed (SlowDown: text); try again"),
    ],
)
def test_answers_of_the_server(code: str, kind: type[StorageError], part: str) -> None:
    """Each error code becomes the error whose handling fits it."""
    error = from_response(ClientError({"Error": {"Code": code, "Message": "text"}}, "PutObject"), URI)
    assert type(error) is kind
    assert part in str(error)
    assert str(error).startswith(f"{URI}: ")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, FullError),
        (errno.EDQUOT, FullError),
        (errno.EACCES, AccessError),
        (errno.EROFS, AccessError),
        (errno.ENOENT, NotFoundError),
        (errno.EIO, StorageError),
    ],
)
def test_answers_of_the_system(number: int, kind: type[StorageError]) -> None:
    """Each errno becomes the error whose handling fits it, with the place in the message."""
    error = files.as_storage_error(OSError(number, os.strerror(number)), "file:///x")
    assert type(error) is kind
    assert str(error).startswith("file:///x: ")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A write that the disk has no room for raises FullError and leaves the old object."""
    storage, uri = open_storage("file:///x"), f"file://{tmp_path}/x"
    storage.put(uri, b"old")

    def to_full_device(_path: Path) -> Path:
        link = tmp_path / f"{files.HIDDEN}full"
        link.symlink_to("/dev/full")
        return link

    monkeypatch.setattr(files, "unfinished", to_full_device)
    with pytest.raises(FullError, match="no space left"):
        storage.put(uri, b"new")
    assert storage.get(uri) == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_folder_without_permission(tmp_path: Path) -> None:
    """A component that is a file, not a folder, is an error that names the URI."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file/x"):
        open_storage("file:///x").put(f"file://{tmp_path}/file/x", b"")


def test_unfinished_files_do_not_show(tmp_path: Path) -> None:
    """What a killed writer left is in no listing."""
    storage = open_storage("file:///x")
    files.unfinished(tmp_path / "x").write_bytes(b"half")
    assert list(storage.list(f"file://{tmp_path}/")) == []
