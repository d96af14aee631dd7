"""
Keeps stores up to date and calls ``reconcile`` with each key that something happened to.

Level-triggered: a key says where to look, never what happened. At most one call per key runs at a time; an exception is
logged, and the key is tried again later.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, Literal, TypeVar

from bertjob_api.cluster import Change, Cluster, ClusterError, Kind, Object
from bertjob_operator.runtime import tally
from bertjob_operator.runtime.errors import RetryLaterError
from bertjob_operator.runtime.queue import WorkQueue
from bertjob_operator.runtime.store import Store

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

GRACE: Final = timedelta(seconds=2)
"""How long a call may still run after cancellation: less than between a leader's renew deadline and its lease's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Generic[K]):
    """What to follow. Two watches of one kind must not select the same object."""

    kind: Kind
    key_of: Callable[[Object], K | None]
    """Which key a change of this object concerns; None: no one's."""
    labels: Mapping[str, str] | None = None
    namespace: str | None = None
    """None for all."""
    keep: Callable[[Object], Object] | None = None
    """Gives what of an object the store keeps, its metadata included; None: all."""


Result = Literal["done", "again", "retry", "error"]
"""again: asked for another turn; retry: the cluster did not do what was asked; error: an unexpected exception."""

_LEVELS: Final = {"done": logging.INFO, "again": logging.INFO, "retry": logging.WARNING, "error": logging.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """One call of ``reconcile``, for logs and metrics."""

    key: Hashable
    duration: timedelta
    result: Result
    error: Exception | None = None
    again_after: timedelta | None = None
    """When its next turn comes by itself, or None."""
    writes: int = 0
    """Requests that it sent to change something, tries that were refused among them."""


def log(turn: Reconciled) -> None:
    """Write one JSON line; an unexpected exception comes with its traceback."""
    line: dict[str, object] = {
        "event": "reconciled",
        "key": "/".join(map(str, turn.key)) if isinstance(turn.key, tuple) else str(turn.key),
        "duration_ms": round(turn.duration.total_seconds() * 1000, 3),
        "result": turn.result,
        "writes": turn.writes,
    }
    if turn.again_after is not None:
        line["again_after_s"] = round(turn.again_after.total_seconds(), 3)
    if turn.error is not None:
        line["error"] = f"{type(turn.error).__name__}: {turn.error}"
    logger.log(_LEVELS[turn.result], json.dumps(line), exc_info=turn.error if turn.result == "error" else None)


class Controller(Generic[K]):
    """
    One ``reconcile`` function, what wakes it, and the stores it may read.

    Args:
        cluster: any implementation.
        watches: what to follow; a change of an object wakes the keys of the object before and after.
        reconcile: gets a key; returns when it wants to be called again without a change, or None.
        workers: how many calls run at once, for different keys.
        grace: how long running calls may go on after ``run`` was cancelled.
        observe: told of each call; the default logs it.

    """

    def __init__(
        self,
        cluster: Cluster,
        watches: Sequence[Watch[K]],
        reconcile: Callable[[K], Awaitable[timedelta | None]],
        *,
        workers: int = 8,
        grace: timedelta = GRACE,
        observe: Callable[[Reconciled], None] = log,
    ) -> None:
        self._cluster = cluster
        self._watches = watches
        self._reconcile = reconcile
        self._workers = workers
        self._grace = grace
        self._observe = observe
        sources = Counter(watch.kind for watch in watches)
        self.stores: dict[Kind, Store] = {kind: Store(sources=count) for kind, count in sources.items()}
        self.queue: WorkQueue[K] = WorkQueue()

    @property
    def synced(self) -> bool:
        """Tell whether every store holds what existed at the start."""
        return all(store.synced.is_set() for store in self.stores.values())

    async def run(self) -> None:
        """Follow the cluster and reconcile, until cancelled; the first call comes when all stores are synced."""
        try:
            async with asyncio.TaskGroup() as group:
                for watch in self._watches:
                    group.create_task(self._follow(watch))
                for store in self.stores.values():
                    await store.synced.wait()
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    async def _follow(self, watch: Watch[K]) -> None:
        store = self.stores[watch.kind]
        changes = self._cluster.changes(watch.kind, namespace=watch.namespace, labels=watch.labels, keep=watch.keep)
        async for change in changes:
            self._take(watch, store, change)

    def _take(self, watch: Watch[K], store: Store, change: Change) -> None:
        old = store.feed(change)
        if change.type == "Synced":
            return
        keys = {watch.key_of(obj) for obj in (old, change.object) if obj is not None}
        for key in keys:
            if key is not None:
                self.queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            turn = asyncio.create_task(self._turn(key))
            try:
                await asyncio.wait({turn})
            except asyncio.CancelledError:
                await asyncio.wait({turn}, timeout=self._grace.total_seconds())
                turn.cancel()
                await asyncio.gather(turn, return_exceptions=True)
                raise
            finally:
                self.queue.done(key)
            if turn.cancelled():  # by reconcile itself: run was not cancelled
                self.queue.retry(key)
            else:
                turn.result()  # raises nothing but mistakes of this module and its observer

    async def _turn(self, key: K) -> None:
        """Call ``reconcile`` once and see to the key's next turn."""
        started, sent = asyncio.get_running_loop().time(), tally.begin()
        result, again_after, error = await self._outcome(key)
        duration = timedelta(seconds=asyncio.get_running_loop().time() - started)
        self._observe(
            Reconciled(
                key=key, duration=duration, result=result, error=error, again_after=again_after, writes=sent.writes
            )
        )

    async def _outcome(self, key: K) -> tuple[Result, timedelta | None, Exception | None]:
        try:
            again_after = await self._reconcile(key)
        except ClusterError as error:
            least = error.retry_after if isinstance(error, RetryLaterError) else timedelta(0)
            return "retry", self.queue.retry(key, least=least), error
        except Exception as error:  # noqa: BLE001  # a mistake in one key's turn must not stop the others
            return "error", self.queue.retry(key), error
        self.queue.forget(key)
        if again_after is None:
            return "done", None, None
        self.queue.add_after(key, again_after)
        return "again", again_after, None
