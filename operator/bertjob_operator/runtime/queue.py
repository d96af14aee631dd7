"""
Which keys to work on next.

A key that is added many times before its turn is worked on once; one that is added while it is worked on has another turn
afterwards. So no two workers ever have the same key, and no addition is lost. The idea is that of client-go's workqueue.
"""

import asyncio
from collections.abc import Hashable
from datetime import timedelta
from typing import Final, Generic, TypeVar

from bertjob_operator.runtime import delays

K = TypeVar("K", bound=Hashable)

FIRST_RETRY: Final = timedelta(milliseconds=5)
LAST_RETRY: Final = timedelta(seconds=300)


class WorkQueue(Generic[K]):
    """Keys that wait for a worker; for one event loop."""

    def __init__(self, *, first_retry: timedelta = FIRST_RETRY, last_retry: timedelta = LAST_RETRY) -> None:
        self._first_retry = first_retry
        self._last_retry = last_retry
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._dirty: set[K] = set()  # added since the last get: in _ready, unless a worker has it
        self._processing: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        """Return how many keys wait for a worker now; delayed ones do not count."""
        return self._ready.qsize()

    def add(self, key: K) -> None:
        """Ask for a turn of *key* that begins after this call."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.put_nowait(key)

    def add_after(self, key: K, delay: timedelta) -> None:
        """Ask for a turn of *key* after *delay*; of several waiting requests for a key the earliest stays."""
        if delay <= timedelta(0):
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + delay.total_seconds()
        waiting = self._timers.get(key)
        if waiting is not None:
            if waiting.when() <= when:
                return
            waiting.cancel()
        self._timers[key] = loop.call_at(when, self._is_due, key)

    async def get(self) -> K:
        """Wait for a key and take it; ``done`` must follow."""
        key = await self._ready.get()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """Say that the turn of *key* has ended, well or not."""
        assert key in self._processing, f"done({key!r}) without get"
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.put_nowait(key)

    def retry(self, key: K, *, least: timedelta = timedelta(0)) -> timedelta:
        """Ask for another turn after a failure, and return the delay: doubled by each failure, at least *least*."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(delays.exponential(failures, first=self._first_retry, most=self._last_retry), least)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Say that *key* succeeded: its next failure is the first again."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Drop every delayed request."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _is_due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)
