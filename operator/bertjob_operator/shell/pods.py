"""Pods as a plan sees them, each read once for as long as it stays as it is: a job may have ten thousand."""

from collections.abc import Sized
from typing import Final

from bertjob_api.cluster import Object
from bertjob_operator.plan import children, reading

SLACK: Final = 1024
"""Pods that are remembered beyond those that are there, before the ones that are gone are looked for."""


class PodReader:
    """
    Reads pods.

    Args:
        there: the store that they come from.

    """

    def __init__(self, there: Sized) -> None:
        self._there = there
        self._read: dict[str, tuple[Object, children.Pod]] = {}
        """By uid: the object, which no one changes, and what was read from it."""

    def __len__(self) -> int:
        return len(self._read)

    def __call__(self, value: Object) -> children.Pod:
        """Return what matters of a pod."""
        uid = value["metadata"]["uid"]
        known = self._read.get(uid)
        if known is not None and known[0] is value:
            return known[1]
        if len(self._read) > 2 * len(self._there) + SLACK:
            self._read.clear()
        found = reading.pod(value)
        self._read[uid] = value, found
        return found
