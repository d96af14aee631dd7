"""Labels: their order, their numbers."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bertjob_tasks.errors import DataError, clip
from bertjob_tasks.readers import Example

MAX_LABELS: Final = 1024
"""As many as ``spec.model.labels`` may name; a text column that is taken for the label has more."""


def discover(examples: Iterable[Example[str]]) -> tuple[str, ...]:
    """Return the sorted labels of the training examples; raises DataError as ``distinct`` does."""
    return distinct(example.label for example in examples)


def distinct(labels: Iterable[str]) -> tuple[str, ...]:
    """
    Return the sorted different labels.

    Raises:
        DataError: fewer than two, or more than ``MAX_LABELS``.

    """
    found = sorted(set(labels))
    if len(found) < 2:
        only = f"only the label {clip(found[0])!r}" if found else "no label"
        raise DataError(f"training data: has {only}, expected at least two; check spec.data.columns.label")
    if len(found) > MAX_LABELS:
        raise DataError(
            f"training data: has {len(found)} different labels, expected at most {MAX_LABELS}; "
            "check that spec.data.columns.label names the label's column"
        )
    return tuple(found)


def numbers(examples: Iterable[Example[str]], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the index into *labels* of each example, ``(N,)``; every label must be in it."""
    index = {label: number for number, label in enumerate(labels)}
    return np.fromiter((index[example.label] for example in examples), dtype=np.int64)
