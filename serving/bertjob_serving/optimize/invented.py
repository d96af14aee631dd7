"""Golden inputs that nobody wrote, for data whose texts may not be stored: token ids and a vocabulary are as good as the text."""

from collections.abc import Collection
from typing import Final

import numpy as np

from bertjob_serving.optimize.weights import Array

_SEED: Final = 20190524


def invented(ids: Array, *, kept: Collection[int], vocabulary: int, number: int) -> Array:
    """
    Return an input (S,) int32 of the form of *ids*, with other words; the same arguments give the same one.

    Args:
        ids: token ids (S,) of a real input; its first and last tokens, which are special ones, stay.
        kept: token ids that stay where they are, and come nowhere else.
        vocabulary: how many token ids there are.
        number: of the input among all; each has words of its own.

    """
    words = np.setdiff1d(np.arange(vocabulary, dtype=np.int32), np.array(sorted(kept), np.int32))
    drawn = np.random.default_rng((_SEED, number)).choice(words, len(ids))
    stays = np.isin(ids, list(kept))
    stays[[0, -1]] = True
    found: Array = np.where(stays, ids, drawn).astype(np.int32)
    return found
