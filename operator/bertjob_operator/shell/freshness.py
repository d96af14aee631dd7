"""Whether the caches have seen our own last writes: planning from older ones does things twice, or asks the API server."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bertjob_api.cluster import Kind, Object, Ref, ref_of
from bertjob_operator.runtime.store import Store

PATIENCE_S: Final = 5.0
"""How long a cache may be behind before it is believed: what we wrote may be gone, or made anew, by somebody else's hand."""


@dataclass(frozen=True, slots=True)
class _Write:
    """What a cache must show next."""

    uid: str
    version: int | None
    """None: it was deleted."""
    when: float
    """In seconds of the monotonic clock."""


class Freshness:
    """
    Remembers what was last written to each object on behalf of each BertJob, until it has come back by the watch.

    Args:
        stores: the caches; objects of other kinds are never waited for.

    """

    def __init__(self, stores: Mapping[Kind, Store]) -> None:
        self._stores = stores
        self._written: dict[object, dict[Ref, _Write]] = {}
        """By key of the BertJob."""

    def wrote(self, key: object, stored: Object) -> None:
        """Remember that *stored* is what the cache must show next."""
        version = stored["metadata"].get("resourceVersion", "")
        if version.isdigit():
            self._remember(key, ref_of(stored), uid=stored["metadata"]["uid"], version=int(version))

    def deleted(self, key: object, ref: Ref, *, uid: str) -> None:
        """Remember that the cache must next show the object *uid* no more, or on its way out."""
        self._remember(key, ref, uid=uid, version=None)

    def forget(self, key: object) -> None:
        """Forget a BertJob that is gone."""
        self._written.pop(key, None)

    def is_caught_up(self, key: object) -> bool:
        """Tell whether the caches are at least as new as our last writes."""
        waiting = {ref: write for ref, write in self._written.pop(key, {}).items() if not self._has_come(ref, write)}
        if waiting:
            self._written[key] = waiting
        return not waiting

    def _remember(self, key: object, ref: Ref, *, uid: str, version: int | None) -> None:
        if ref.kind in self._stores:
            self._written.setdefault(key, {})[ref] = _Write(uid, version, time.monotonic())

    def _has_come(self, ref: Ref, write: _Write) -> bool:
        cached = self._stores[ref.kind].get(ref.namespace, ref.name)
        if time.monotonic() - write.when > PATIENCE_S:
            return True
        if cached is None:
            return write.version is None
        metadata = cached["metadata"]
        if metadata["uid"] != write.uid:
            return True
        if write.version is None:
            return "deletionTimestamp" in metadata
        seen = metadata.get("resourceVersion", "")
        return bool(seen.isdigit() and int(seen) >= write.version)
