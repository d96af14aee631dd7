"""
Folders of files in storage: published whole, fetched whole, proven by digests.

Files go first and ``manifest.json`` last, so a folder with a manifest is complete; a folder without one does not exist for
those who read manifests.
"""

from pathlib import Path, PurePosixPath

from bertjob_api.digest import sha256_of
from bertjob_api.manifest import MANIFEST, CorruptError, FileEntry, ModelManifest
from bertjob_storage import files, parallel, uris
from bertjob_storage.protocol import NotFoundError, PreconditionError, Storage


def file_entries(folder: Path) -> tuple[FileEntry, ...]:
    """Return an entry for each file below *folder*, sorted by path; a manifest and hidden temporary files are left out."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(files.HIDDEN))
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return tuple(
        FileEntry(path=name, sha256=files.sha256_of(path), size_bytes=path.stat().st_size)
        for name, path in sorted(names.items())
        if name != MANIFEST
    )


def publish(storage: Storage, folder: Path, uri: str, manifest: ModelManifest) -> None:
    """
    Write the manifest's files from *folder* to *uri*, then the manifest; nothing when that manifest is there already.

    Raises:
        CorruptError: a local file is not what the manifest says, or *uri* holds another manifest.
        StorageError: storage did not take it; what was written without a manifest does not count.

    """
    data, target = manifest.to_json(), uris.join(uri, MANIFEST)
    if storage.etag(target) is None:
        for entry in manifest.files:
            check_file(folder / safe_path(entry.path), entry, where=str(folder))
        parallel.each(manifest.files, lambda entry: storage.upload(uris.join(uri, entry.path), folder / entry.path))
        try:
            storage.put(target, data, if_absent=True)
        except PreconditionError:  # another writer finished first
            pass
        else:
            return
    if storage.get(target) != data:
        raise CorruptError(
            f"{target}: holds another model than the one to publish (sha256 {manifest.sha256}); publish to a folder of its own"
        )


def read_manifest(storage: Storage, uri: str, *, sha256: str | None = None) -> ModelManifest:
    """
    Return the manifest of a published folder.

    Raises:
        CorruptError: it is unreadable, or its digest is not *sha256* (None: any).
        NotFoundError: the folder is not published.

    """
    try:
        data = storage.get(uris.join(uri, MANIFEST))
    except NotFoundError as error:
        raise NotFoundError(
            f"{uri}: holds no {MANIFEST}, so it is no published model; check the URI, or publish it again"
        ) from error
    if sha256 is not None and sha256_of(data) != sha256:
        raise CorruptError(
            f"{uri}/{MANIFEST}: has sha256 {sha256_of(data)}, expected {sha256}; the folder was changed, publish it again"
        )
    return ModelManifest.from_json(data)


def fetch(storage: Storage, uri: str, folder: Path, sha256: str | None = None) -> ModelManifest:
    """
    Copy a published folder to *folder* and return its manifest, every digest verified.

    Files that are there already with the right content are kept; ``manifest.json`` appears last.

    Args:
        storage: serves *uri*.
        uri: the published folder.
        folder: local target, made when absent.
        sha256: digest that the manifest must have; None: any.

    Raises:
        CorruptError: manifest or a file is not what it must be; the damaged file is not kept.
        NotFoundError: the folder is not published, or lacks a file.

    """
    manifest = read_manifest(storage, uri, sha256=sha256)

    def get(entry: FileEntry) -> None:
        path = folder / safe_path(entry.path)
        if path.is_file() and path.stat().st_size == entry.size_bytes and files.sha256_of(path) == entry.sha256:
            return
        storage.download(uris.join(uri, entry.path), path)
        try:
            check_file(path, entry, where=uri)
        except CorruptError:
            path.unlink()
            raise

    parallel.each(manifest.files, get)
    with files.translated(folder), files.appearing(folder / MANIFEST) as temporary:
        temporary.write_bytes(manifest.to_json())
    return manifest


def download(storage: Storage, uri: str, folder: Path) -> tuple[Path, ...]:
    """
    Copy the object *uri*, or every object below it, into *folder* and return the local files in the order of their URIs.

    An object keeps the last part of its URI as its name; objects below *uri* keep their path relative to it.

    Raises:
        NotFoundError: there is neither such an object nor anything below it.

    """
    bare = uri.rstrip("/")
    found = [entry.uri for entry in storage.list(bare) if entry.uri == bare or entry.uri.startswith(f"{bare}/")]
    if not found:
        raise NotFoundError(f"{uri}: there is nothing; check the URI, or copy the files there")
    parent = bare.rpartition("/")[0]
    targets = {item: folder / safe_path(item.removeprefix(f"{parent if item == bare else bare}/")) for item in found}
    parallel.each(targets, lambda item: storage.download(item, targets[item]))
    return tuple(targets.values())


def check_file(path: Path, entry: FileEntry, *, where: str) -> None:
    """Raise CorruptError unless *path* has the size and the digest of *entry*; *where* names its folder in the message."""
    size = path.stat().st_size if path.is_file() else None
    if size != entry.size_bytes:
        raise CorruptError(
            f"{where}: {entry.path} has {'no bytes at all' if size is None else f'{size} bytes'}, expected {entry.size_bytes}; "
            "the folder is incomplete, publish it again"
        )
    digest = files.sha256_of(path)
    if digest != entry.sha256:
        raise CorruptError(
            f"{where}: {entry.path} has sha256 {digest}, expected {entry.sha256}; the file is damaged, publish it again"
        )


def safe_path(name: str) -> str:
    """Return *name*, which must stay within its folder: a manifest comes from storage and may be hostile."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise CorruptError(f"{MANIFEST}: names the file {name!r}, expected a path within the folder; do not use it")
    return name
