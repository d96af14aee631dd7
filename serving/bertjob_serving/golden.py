"""
The golden set: a few held-out inputs with the answers they got when the artifact was judged.

It proves at every load that this machine computes what was measured. ``golden.json`` is part of the artifact and covered by
its digest, so its numbers are computed on one thread and rounded: the same input gives the same bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bertjob_api.digest import canonical_json
from bertjob_api.manifest import CorruptError
from bertjob_tasks.task import Asked, Task, Windows, asked_of

Array = np.ndarray[Any, np.dtype[Any]]

FILE: Final = "golden.json"
SIZE: Final = 32
"""Inputs kept: enough to show a broken kernel, few enough to check at every start."""
TOLERANCE: Final = 0.05
"""Largest difference of a probability (or value) from the recorded one; rounding differs between CPUs, a broken kernel is far off."""
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input and what it was answered."""

    ids: tuple[int, ...]
    """Token ids, unpadded."""
    text: Asked | None
    """The text or pair of texts; None where texts may not be stored."""
    fp32: tuple[float, ...]
    """Logits of the FP32 model, those of one token after another where there are some for each."""
    served: tuple[float, ...]
    """Logits of this artifact."""


def to_json(items: Sequence[Item]) -> bytes:
    """Return the content of ``golden.json``."""
    rows = [
        {
            "ids": list(item.ids),
            **({"text": _plain(item.text)} if item.text is not None else {}),
            "fp32": [round(value, _DIGITS) for value in item.fp32],
            "served": [round(value, _DIGITS) for value in item.served],
        }
        for item in items
    ]
    return canonical_json({"format": 1, "items": rows})


def from_json(data: bytes) -> tuple[Item, ...]:
    """Return the items; raises CorruptError."""
    try:
        return tuple(_item(row) for row in json.loads(data)["items"])
    except (ValueError, KeyError, TypeError) as error:
        message = f"{FILE}: cannot be read ({error!r}); the artifact is damaged, run optimize again"
        raise CorruptError(message) from error


def _plain(text: Asked) -> str | list[str]:
    return text if isinstance(text, str) else list(text)


def _item(row: dict[str, Any]) -> Item:
    text = row.get("text")
    return Item(
        ids=tuple(int(value) for value in row["ids"]),
        text=None if text is None else asked_of(text),
        fp32=tuple(float(value) for value in row["fp32"]),
        served=tuple(float(value) for value in row["served"]),
    )


def ids_of(item: Item) -> Array:
    """Return the token ids (S,) int32."""
    return np.array(item.ids, np.int32)


def is_answered(task: Task[Any], item: Item, tokens: Windows, logits: Sequence[Array]) -> bool:
    """Return whether an item's text, cut into these windows, has its input among them, and *logits* there mean what was recorded."""
    return any(
        same_answer(task, item.served, got)
        for own, got in zip(tokens, logits, strict=True)
        if tuple(own.ids.tolist()) == item.ids
    )


def same_answer(task: Task[Any], recorded: Sequence[float], got: Array) -> bool:
    """Return whether the logits *got*, (L,) or (S, L), mean what was recorded."""
    if len(recorded) % got.shape[-1]:
        return False
    expected = np.array(recorded).reshape(-1, got.shape[-1]) if got.ndim > 1 else np.array(recorded)
    return task.same(task.own(expected), task.own(got), tolerance=TOLERANCE)
