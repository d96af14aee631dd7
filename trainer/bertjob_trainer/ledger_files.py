"""The ledger of a run in storage: pieces that overlap, and the name of the newest entry."""

import json
from collections.abc import Mapping

from bertjob_storage import uris
from bertjob_storage.protocol import Storage
from bertjob_trainer import ledger
from bertjob_trainer.ledger import BrokenError, Entry


def write(storage: Storage, run_uri: str, records: Mapping[str, bytes]) -> None:
    """Write what ``ledger.records`` gave, in its order; raises StorageError."""
    for name, content in records.items():
        storage.put(uris.join(run_uri, name), content)


def find(storage: Storage, uri: str) -> str:
    """
    Return the folder of the only run at or below *uri* that has a ledger.

    Raises:
        ValueError: there is none, or there are several.
        StorageError: storage does not answer.

    """
    ending = f"/{ledger.HEAD}"
    runs = [
        entry.uri.removesuffix(ending) for entry in storage.list(f"{uri.rstrip('/')}/") if entry.uri.endswith(ending)
    ]
    if len(runs) != 1:
        found = "none" if not runs else ", ".join(runs)
        raise ValueError(f"{uri}: expected one run with a ledger below it, found {found}; name the folder of a run")
    return runs[0]


def read(storage: Storage, run_uri: str) -> tuple[Entry, ...]:
    """
    Return the steps that the newest committed state of a run contains.

    Raises:
        BrokenError: they cannot be proven.
        StorageError: storage does not answer, or there is no ledger.

    """
    head = _head(storage.get(uris.join(run_uri, ledger.HEAD)))
    folder = f"{uris.join(run_uri, ledger.FOLDER)}/steps-"
    pieces = [ledger.decode(storage.get(entry.uri)) for entry in storage.list(folder)]
    return ledger.lineage(pieces, head=head)


def _head(data: bytes) -> str:
    try:
        return str(json.loads(data)["head"])
    except (ValueError, TypeError, KeyError) as error:
        raise BrokenError(f"{ledger.HEAD}: expected an object with head, got {data[:80]!r}") from error
