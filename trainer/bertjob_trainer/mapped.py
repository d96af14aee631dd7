"""
Encoded examples on disk, read through memory maps, so that training data never has to fit in memory.

They are encoded once for each machine, a few thousand at a time; the operating system keeps in memory what is read often.

Layout of a folder: ``ids`` int32 and ``types`` int8 of all tokens one after another, ``lengths`` int64 of the examples, ``targets``,
and ``meta.json``: labels, and what the targets are. Native byte order: the files never leave the machine.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertjob_tasks.task import Features
from bertjob_trainer.data import Dataset
from bertjob_trainer.locking import alone

T = TypeVar("T")
CHUNK: Final = 1024
"""Examples that are encoded at once: more make nothing faster."""
_META: Final = "meta.json"
_IDS, _TYPES, _LENGTHS, _TARGETS = "ids", "types", "lengths", "targets"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What stands in a folder."""

    labels: tuple[str, ...]
    chunks: Iterable[Features]
    """All examples, in order."""


def once(folder: Path, make: Callable[[], Encoded]) -> None:
    """Fill *folder* with what *make* gives, unless it is there; of several processes one does it and the others wait."""
    with alone(folder.with_suffix(".lock")):
        if folder.is_dir():
            return
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _write(unfinished, make())
        unfinished.rename(folder)


def labels_of(folder: Path) -> tuple[str, ...]:
    """Return the labels that the examples were encoded with."""
    return tuple(_meta(folder)["labels"])


def dataset(folder: Path, *, pad_id: int, per_token: bool) -> Dataset:
    """Return the examples of a filled folder; arguments as in ``Dataset.of``."""
    meta = _meta(folder)
    lengths = np.fromfile(folder / _LENGTHS, dtype=np.int64)
    targets = _map(folder / _TARGETS, np.dtype(meta["dtype"]))
    return Dataset(
        ids=_map(folder / _IDS, np.dtype(np.int32)),
        type_ids=_map(folder / _TYPES, np.dtype(np.int8)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=targets.reshape(-1, *meta["shape"]),
        pad_id=pad_id,
        per_token=per_token,
    )


def chunked(items: Iterable[T], *, size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield the items, at most *size* at a time."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _write(folder: Path, encoded: Encoded) -> None:
    dtype, shape = np.dtype(np.int64), tuple[int, ...]()
    with ExitStack() as opened:
        files = {name: opened.enter_context((folder / name).open("wb")) for name in (_IDS, _TYPES, _LENGTHS, _TARGETS)}
        for features in encoded.chunks:
            targets = np.ascontiguousarray(features.targets)
            dtype, shape = targets.dtype, targets.shape[1:]
            parts = {
                _IDS: np.concatenate([item.ids for item in features.inputs]),
                _TYPES: np.concatenate([item.type_ids for item in features.inputs]).astype(np.int8),
                _LENGTHS: np.array([len(item.ids) for item in features.inputs], dtype=np.int64),
                _TARGETS: targets,
            }
            for name, values in parts.items():
                files[name].write(values.tobytes())
    meta = {"labels": list(encoded.labels), "dtype": dtype.str, "shape": list(shape)}
    (folder / _META).write_text(json.dumps(meta), encoding="utf-8")


def _meta(folder: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((folder / _META).read_text(encoding="utf-8"))
    return meta


def _map(path: Path, dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Return the values of a file, in memory only where they are read; an empty file cannot be mapped."""
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype=dtype)
