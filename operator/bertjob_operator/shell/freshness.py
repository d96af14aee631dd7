"""Whether a cache has seen our own last write: planning from an older status could do a thing twice."""

import time
from typing import Final

from bertjob_api.cluster import Object

PATIENCE_S: Final = 5.0
"""How long a cache may be behind before it is believed: the object may have been made anew."""


class Freshness:
    """Remembers the version of each object that we wrote last, until it has come back by the watch."""

    def __init__(self) -> None:
        self._written: dict[object, tuple[str, int, float]] = {}
        """By key: uid, version and when it was written, in seconds of the monotonic clock."""

    def wrote(self, key: object, stored: Object) -> None:
        """Remember that *stored* is what the cache must show next."""
        metadata = stored["metadata"]
        version = metadata.get("resourceVersion", "")
        if version.isdigit():
            self._written[key] = (metadata["uid"], int(version), time.monotonic())

    def is_caught_up(self, key: object, cached: Object | None) -> bool:
        """Tell whether *cached* is at least as new as our last write."""
        if key not in self._written:
            return True
        uid, version, when = self._written[key]
        found = cached["metadata"] if cached is not None else {}
        seen = found.get("resourceVersion", "")
        other = found.get("uid") not in (uid, None)
        if other or (seen.isdigit() and int(seen) >= version) or time.monotonic() - when > PATIENCE_S:
            del self._written[key]
            return True
        return False
