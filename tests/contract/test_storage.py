"""One suite for every storage: a folder and a real S3 server."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import s3_gateway

from bertjob_storage import open_storage
from bertjob_storage.protocol import NotFoundError, PreconditionError, Storage


@dataclass(frozen=True)
class Place:
    """A storage and where to write in it."""

    storage: Storage
    root: str
    """URI below which nothing is yet."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_gateway.Gateway]:
    with s3_gateway.running(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        root = f"file://{tmp_path}/store"
        return Place(open_storage(root), root)
    gateway = request.getfixturevalue("gateway")
    root = f"s3://{s3_gateway.BUCKET}/{tmp_path.name}"
    return Place(open_storage(root, gateway.env), root)


def uris(place: Place, prefix: str) -> list[str]:
    return [entry.uri for entry in place.storage.list(f"{place.root}/{prefix}")]


def test_what_was_put_is_got(place: Place) -> None:
    """Content comes back byte for byte, the empty object included."""
    for name, data in (("a/b.txt", b"text \x00\xff"), ("empty", b"")):
        place.storage.put(f"{place.root}/{name}", data)
        assert place.storage.get(f"{place.root}/{name}") == data


def test_put_replaces(place: Place) -> None:
    """A second put without conditions wins and changes the etag."""
    first = place.storage.put(f"{place.root}/x", b"one")
    second = place.storage.put(f"{place.root}/x", b"two")
    assert first != second
    assert place.storage.etag(f"{place.root}/x") == second
    assert place.storage.get(f"{place.root}/x") == b"two"


def test_absent_objects(place: Place) -> None:
    """Reading what is not there raises NotFoundError naming the URI; its etag is None; a folder is not an object."""
    place.storage.put(f"{place.root}/folder/x", b"")
    for name in ("none", "folder", "folder/x/below"):
        with pytest.raises(NotFoundError, match=name):
            place.storage.get(f"{place.root}/{name}")
        assert place.storage.etag(f"{place.root}/{name}") is None


def test_put_if_absent(place: Place) -> None:
    """Only the first conditional put of a new object is taken."""
    place.storage.put(f"{place.root}/x", b"one", if_absent=True)
    with pytest.raises(PreconditionError, match="/x: "):
        place.storage.put(f"{place.root}/x", b"two", if_absent=True)
    assert place.storage.get(f"{place.root}/x") == b"one"


def test_put_if_match(place: Place) -> None:
    """A put made for another version, or for an object that is gone, is refused and writes nothing."""
    first = place.storage.put(f"{place.root}/x", b"one")
    second = place.storage.put(f"{place.root}/x", b"two", if_match=first)
    with pytest.raises(PreconditionError):
        place.storage.put(f"{place.root}/x", b"three", if_match=first)
    place.storage.delete(f"{place.root}/x")
    with pytest.raises(PreconditionError):
        place.storage.put(f"{place.root}/x", b"four", if_match=second)
    assert place.storage.etag(f"{place.root}/x") is None


@pytest.mark.parametrize("condition", ["if_absent", "if_match"])
def test_one_of_many_writers_wins(place: Place, condition: str) -> None:
    """Of writers that race with the same condition exactly one succeeds."""
    uri, wins, barrier = f"{place.root}/race", [], threading.Barrier(8)
    etag = place.storage.put(uri, b"0") if condition == "if_match" else None

    def write(index: int) -> None:
        barrier.wait()
        try:
            if etag is None:
                place.storage.put(uri, b"%d" % index, if_absent=True)
            else:
                place.storage.put(uri, b"%d" % index, if_match=etag)
        except PreconditionError:
            return
        wins.append(index)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"%d" % index for index in wins] == [place.storage.get(uri)]


def test_list_is_sorted_and_by_prefix(place: Place) -> None:
    """A listing has every object whose URI begins with the prefix, in the order of their URIs, with sizes and etags."""
    for name in ("a/2", "a/10", "a/sub/x", "ab", "b"):
        place.storage.put(f"{place.root}/{name}", name.encode())
    assert uris(place, "a") == [f"{place.root}/{name}" for name in ("a/10", "a/2", "a/sub/x", "ab")]
    assert uris(place, "a/") == [f"{place.root}/{name}" for name in ("a/10", "a/2", "a/sub/x")]
    assert uris(place, "none/") == []
    for entry in place.storage.list(f"{place.root}/"):
        assert entry.size_bytes == len(place.storage.get(entry.uri))
        assert entry.etag == place.storage.etag(entry.uri)


def test_delete(place: Place) -> None:
    """Deleting removes one object, leaves its neighbours, and may be repeated."""
    place.storage.put(f"{place.root}/d/x", b"x")
    place.storage.put(f"{place.root}/d/xy", b"y")
    for _ in range(2):
        place.storage.delete(f"{place.root}/d/x")
    assert uris(place, "d/") == [f"{place.root}/d/xy"]


@pytest.mark.parametrize("size", [0, 1, 40 * 1024 * 1024 + 1], ids=["empty", "byte", "several-parts"])
def test_files_travel_whole(place: Place, tmp_path: Path, size: int) -> None:
    """An uploaded file comes back equal, also when it is sent in parts; its listing has its size."""
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_bytes(os.urandom(size))
    place.storage.upload(f"{place.root}/big", source)
    place.storage.download(f"{place.root}/big", target)
    assert target.read_bytes() == source.read_bytes()
    assert [entry.size_bytes for entry in place.storage.list(f"{place.root}/big")] == [size]


def test_failed_download_leaves_nothing(place: Place, tmp_path: Path) -> None:
    """A download of an absent object raises NotFoundError and leaves no file, hidden or not."""
    target = tmp_path / "new" / "target"
    with pytest.raises(NotFoundError, match="none"):
        place.storage.download(f"{place.root}/none", target)
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


def test_upload_of_absent_file(place: Place, tmp_path: Path) -> None:
    """Uploading a file that is not there raises NotFoundError and creates no object."""
    with pytest.raises(NotFoundError):
        place.storage.upload(f"{place.root}/x", tmp_path / "absent")
    assert place.storage.etag(f"{place.root}/x") is None


def test_names_are_literal(place: Place) -> None:
    """Spaces, percent signs and non-ASCII letters in keys are kept as they are."""
    uri = f"{place.root}/a b%20c/\u00e4"
    place.storage.put(uri, b"x")
    assert place.storage.get(uri) == b"x"
    assert uris(place, "a b") == [uri]
