"""Since when Jobs are seen to be over: by this process and on a clock that nobody sets, for the server's may differ by minutes."""

import time
from collections.abc import Callable, Iterable
from typing import Final

SETTLE_S: Final = 10.0
"""How long a Job's end may be seen before the end of its pods: the two come by different watches."""


class Endings:
    """
    Remembers when each Job's end was seen first.

    Args:
        clock: gives seconds that only grow.

    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first_seen: dict[object, dict[str, float]] = {}

    def settling(self, key: object, over: Iterable[str]) -> frozenset[str]:
        """Return which of the Jobs of *key* that are *over*, by uid, were not so for long; forgets all others of *key*."""
        known, now = self._first_seen.pop(key, {}), self._clock()
        seen = {uid: known.get(uid, now) for uid in over}
        if seen:
            self._first_seen[key] = seen
        return frozenset(uid for uid, since in seen.items() if now - since < SETTLE_S)
