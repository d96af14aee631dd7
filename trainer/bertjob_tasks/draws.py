"""Random numbers that a key decides, the same on every machine."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def random_numbers(count: int, *key: int) -> NDArray[np.uint64]:
    """
    Return *count* numbers that *key* alone decides.

    From a bit generator, whose stream NumPy keeps stable across versions, unlike that of ``Generator.permutation``
    (Source: NumPy Enhancement Proposal 19).
    """
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    numbers: NDArray[np.uint64] = np.random.Philox(key=int.from_bytes(digest, "big")).random_raw(count)
    return numbers


def fractions(count: int, *key: int) -> NDArray[np.float64]:
    """Return *count* numbers from 0 up to but not including 1 that *key* alone decides, of 53 bits each."""
    found: NDArray[np.float64] = (random_numbers(count, *key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found
