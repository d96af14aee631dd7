"""The texts that candidates are calibrated and judged on, fetched and read as the task's readers read them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bertjob_api import layout
from bertjob_api.digest import sha256_of
from bertjob_api.spec import JobSpec
from bertjob_storage import files, folders, open_storage
from bertjob_tasks import registry
from bertjob_tasks.task import Asked

T = TypeVar("T")
_SEED = 20190524


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Downloaded examples, not read yet."""

    path: Path
    """File or folder."""
    sha256: str
    """Of the names and contents of all files."""


def download(uri: str, *, spec: JobSpec, folder: Path) -> Source:
    """Fetch the examples at *uri* into *folder*; raises StorageError."""
    resolved = layout.resolve(uri, prefix=spec.storage.prefix)
    found = folders.download(open_storage(resolved), resolved, folder)
    digests = {path.relative_to(folder).as_posix(): files.sha256_of(path) for path in found}
    return Source(path=found[0] if len(found) == 1 else folder, sha256=sha256_of(digests))


def read(source: Source, *, spec: JobSpec, labels: tuple[str, ...]) -> list[Any]:
    """Return every held-out example of the job's task; raises DataError."""
    return list(registry.served_of(spec.model).read(source.path, spec.data, labels=labels))


def calibration(source: Source, *, spec: JobSpec, wanted: int) -> list[Asked]:
    """Return *wanted* training inputs drawn evenly, in file order, the same at every call; all when there are fewer."""
    task = registry.served_of(spec.model)
    return sample((task.asked(example) for example in task.read(source.path, spec.data, labels=None)), wanted=wanted)


def sample(items: Iterable[T], *, wanted: int) -> list[T]:
    """
    Return *wanted* of the *items*, each with the same chance, in their order; the same items give the same sample.

    Source: Vitter 1985, "Random sampling with a reservoir", algorithm R.
    """
    rng = np.random.default_rng(_SEED)
    kept: list[tuple[int, T]] = []
    for number, item in enumerate(items):
        if number < wanted:
            kept.append((number, item))
            continue
        place = int(rng.integers(0, number + 1))
        if place < wanted:
            kept[place] = (number, item)
    return [item for _, item in sorted(kept, key=lambda pair: pair[0])]
