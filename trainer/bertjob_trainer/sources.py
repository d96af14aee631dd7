"""
Where a model starts from: ``spec.model.source`` to a folder on this machine.

Only the files that a model needs are copied; published folders often hold the same weights in several formats.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Final

from bertjob_api import layout
from bertjob_api.digest import sha256_of
from bertjob_api.job import BertJob
from bertjob_api.manifest import MANIFEST
from bertjob_storage import files, folders, parallel, uris
from bertjob_storage.opening import open_storage
from bertjob_tasks import tokenizer_files
from bertjob_tasks.errors import DataError, ModelFolderError, UnsupportedError
from bertjob_trainer import bert_config, hub

_VOCABULARY: Final = "spec.model.vocabulary.source"
_NAMES: Final = (bert_config.CONFIG, bert_config.INDEX, *tokenizer_files.NAMES)


def model_uri(job: BertJob) -> str:
    """Return where the job's model starts from, ``storage://`` resolved."""
    return layout.resolve(job.spec.model.source, prefix=job.spec.storage.prefix)


def data_uris(job: BertJob) -> dict[str, str]:
    """Return where the job's data are, ``storage://`` resolved, by name: train, validation and perhaps test."""
    data = job.spec.data
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: layout.resolve(uri, prefix=job.spec.storage.prefix) for name, uri in named.items() if uri}


def fetch_model(source: str, *, prefix: str, scratch: Path) -> None:
    """
    Copy a remote model into *scratch*, which is emptied first; local ones stay where they are.

    Args:
        source: ``spec.model.source``, with ``storage://`` already resolved.
        prefix: ``spec.storage.prefix``, for messages.
        scratch: folder to fill.

    Raises:
        DataError: there is no such model.
        StorageError: it cannot be fetched now.

    """
    scheme = source.partition("://")[0]
    if scheme == hub.SCHEME:
        hub.fetch(source, scratch, wanted=is_model_file)
    elif scheme == "s3":
        shutil.rmtree(scratch, ignore_errors=True)
        _download(source, scratch, prefix=prefix)


def model_folder(source: str, *, scratch: Path) -> Path:
    """Return the local folder of a model that ``fetch_model`` was asked for; raises DataError."""
    scheme, _, rest = source.partition("://")
    if scheme == "package":
        return package_folder(rest)
    if scheme == "file":
        return _existing(uris.path_of(source), f"spec.model.source: {source}")
    if scheme in ("s3", "preset", hub.SCHEME):
        return scratch
    raise UnsupportedError(f"spec.model.source: got {source}, which this version cannot start from; use s3://")


def package_folder(path: str) -> Path:
    """
    Return a folder inside an installed Python package, without importing it: model packages import their frameworks.

    Args:
        path: ``module/folder``; the module may be dotted.

    Raises:
        DataError: no such package or folder here.

    """
    module, _, inner = path.partition("/")
    top, *parts = module.split(".")
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        raise DataError(f"spec.model.source: package {top!r} is not installed here; add it to the training image")
    for place in places:
        folder = Path(place, *parts, folders.safe_path(inner) if inner else "")
        if folder.is_dir():
            return folder
    raise DataError(f"spec.model.source: package {top!r} has no folder {'/'.join([*parts, inner])!r}; check the path")


def fetch_data(uri: str, *, scratch: Path) -> None:
    """Copy remote data at *uri*, a file or a folder, into *scratch*, which is emptied first; raises StorageError."""
    if uris.scheme_of(uri) == "s3":
        shutil.rmtree(scratch, ignore_errors=True)
        folders.download(open_storage(uri), uri, scratch)


def vocabulary_path(uri: str, *, scratch: Path) -> Path:
    """Return the local file or folder of a vocabulary, after ``fetch_data`` where it is remote; raises DataError."""
    scheme, _, rest = uri.partition("://")
    return package_folder(rest) if scheme == "package" else data_path(uri, field=_VOCABULARY, scratch=scratch)


def data_path(uri: str, *, field: str, scratch: Path) -> Path:
    """Return the local file or folder of data that ``fetch_data`` was asked for; raises DataError."""
    if uris.scheme_of(uri) == "file":
        return _existing(uris.path_of(uri), f"{field}: {uri}")
    file = scratch / uri.rstrip("/").rpartition("/")[2]
    return file if file.is_file() else scratch


def model_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that decide what is trained, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and is_model_file(path.name))


def is_model_file(name: str) -> bool:
    """Return whether a file of this name belongs to a model that can be trained."""
    return name in _NAMES or name.endswith(".safetensors")


def digest(paths: list[Path]) -> str:
    """Return the sha256 of one file's content, or of the names and contents of several."""
    if len(paths) == 1:
        return files.sha256_of(paths[0])
    return sha256_of({path.name: files.sha256_of(path) for path in paths})


def _existing(path: Path, what: str) -> Path:
    if not path.exists():
        raise DataError(f"{what}: does not exist; check the path")
    return path


def _download(uri: str, scratch: Path, *, prefix: str) -> None:
    storage = open_storage(uri)
    if storage.etag(uris.join(uri, MANIFEST)) is not None:  # a model that a job published: verified file by file
        folders.fetch(storage, uri, scratch)
        return
    base = uri.rstrip("/")
    found = [entry.uri for entry in storage.list(f"{base}/") if is_model_file(entry.uri.removeprefix(f"{base}/"))]
    if not found:
        raise ModelFolderError(
            f"spec.model.source: {uri} holds no model file, expected config.json and the rest; "
            f"check the path (storage:// is below {prefix})"
        )
    parallel.each(found, lambda item: storage.download(item, scratch / item.removeprefix(f"{base}/")))
