"""
Models of a Hugging Face hub, ``hf://ORG/NAME`` or ``hf://ORG/NAME@REVISION``.

``HF_ENDPOINT`` names another hub than the public one, ``HF_TOKEN`` opens models that are not public; no message holds it.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bertjob_storage import files
from bertjob_storage.protocol import StorageError
from bertjob_tasks.errors import DataError

SCHEME: Final = "hf"
_NAME: Final = re.compile(r"[\w.-]+(?:/[\w.-]+)?(?:@[\w./-]+)?")
_MARK: Final = "fetched-from"
_SILENT: Final = (
    "HfHubHTTPError",
    "HTTPError",
    "LocalEntryNotFoundError",
    "ConnectionError",
    "TimeoutError",
    "gaierror",
)
_ABSENT: Final = ("RepositoryNotFoundError", "RevisionNotFoundError", "DisabledRepoError", "HFValidationError")


def fetch(source: str, folder: Path, *, wanted: Callable[[str], bool], env: Mapping[str, str] = os.environ) -> set[str]:
    """
    Copy the *wanted* files of a model into *folder*, unless they are there, and return the names of all its files.

    Raises:
        DataError: there is no such model, or the token does not open it.
        StorageError: the hub does not answer, or the files cannot be written here.

    """
    name = source.partition("://")[2]
    if not _NAME.fullmatch(name):
        raise DataError(f"spec.model.source: got {source}, expected hf://ORG/NAME or hf://ORG/NAME@REVISION")
    mark = folder / _MARK
    if mark.is_file() and mark.read_text(encoding="utf-8").startswith(f"{source}\n"):
        return set(mark.read_text(encoding="utf-8").split("\n")[1:])
    try:
        found = _copied(name, folder, wanted=wanted, env=env)
    except Exception as error:  # noqa: BLE001  # whichever library below it raises; what is nobody's mistake is raised again
        raise _translated(error, source, folder) from None  # their texts quote requests, headers included
    with files.translated(mark):
        mark.write_text("\n".join([source, *sorted(found)]), encoding="utf-8")
    return found


def _copied(name: str, folder: Path, *, wanted: Callable[[str], bool], env: Mapping[str, str]) -> set[str]:
    # Late: only these models need it. It takes half a second, and reads HF_HUB_OFFLINE when it is imported.
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415
    from huggingface_hub.utils import disable_progress_bars  # noqa: PLC0415

    disable_progress_bars()
    repository, _, revision = name.partition("@")
    opened: dict[str, Any] = {"endpoint": env.get("HF_ENDPOINT") or None, "token": env.get("HF_TOKEN") or False}
    info = HfApi(**opened).model_info(repository, revision=revision or None)
    names = {file.rfilename for file in info.siblings or ()}
    for file in sorted(filter(wanted, names)):
        hf_hub_download(repository, file, revision=info.sha, local_dir=folder, **opened)
    return names


def _translated(error: Exception, source: str, folder: Path) -> Exception:
    """Return what a foreign error means to the user; one that is not of hub, network or *folder* is returned as it is."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if "GatedRepoError" in kinds or status in (401, 403):
        return DataError(
            f"spec.model.source: {source} is not open to this token; accept the model's terms, and put a token that may read it "
            "into the storage Secret as HF_TOKEN"
        )
    if kinds & set(_ABSENT) or status == 404:
        return DataError(
            f"spec.model.source: the hub has no {source} that this job may read; check the name, or put a token as HF_TOKEN into "
            "the storage Secret"
        )
    if "OfflineModeIsEnabled" in kinds:
        return DataError(
            f"spec.model.source: {source} is asked for while HF_HUB_OFFLINE is set; unset it or copy the model"
        )
    if kinds & set(_SILENT):
        return StorageError(
            f"{source}: the hub does not answer ({type(error).__name__}, HTTP status {status}); try again later"
        )
    return files.as_storage_error(error, error.filename or folder) if isinstance(error, OSError) else error
