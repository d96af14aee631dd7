"""A cluster that misbehaves by a random schedule, as a network and an API server under load do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from support.wrapped import Crash

from bertjob_api.cluster import Change, Cluster, ConflictError, Kind, Object, Ref, UnavailableError
from bertjob_operator.runtime.errors import RetryLaterError

WRITE_FAULTS: Final = ("conflict", "too many requests", "error", "lost answer", "slow", "kill before", "kill after")
READ_FAULTS: Final = ("too many requests", "error", "slow")
SLOW_S: Final = 0.05
"""Longest delay of an answer, and of a change on its way to a cache."""


@dataclass
class Schedule:
    """
    Which fault comes when; the same seed gives the same sequence of faults.

    Args:
        seed: of the random numbers.
        budget: faults after which the cluster behaves.
        share: of calls that get a fault.

    """

    seed: int
    budget: int = 25
    share: float = 0.1
    jump: timedelta = timedelta()
    """Longest jump of the operator's clock, either way."""
    injected: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Seed the random numbers."""
        self._random = Random(self.seed)  # noqa: S311  # repeatable, not secret
        self._offset = timedelta()

    @property
    def is_calm(self) -> bool:
        """Tell whether all faults are spent."""
        return self.injected.total() >= self.budget

    def fault(self, kinds: tuple[str, ...]) -> str | None:
        """Return the fault of the next call, or None."""
        if self.is_calm or self._random.random() >= self.share:
            return None
        kind = self._random.choice(kinds)
        self.injected[kind] += 1
        return kind

    def delay(self) -> float:
        """Return a random delay in seconds."""
        return self._random.random() * SLOW_S

    def now(self) -> datetime:
        """Return the time on a clock that jumps."""
        if self.jump and self.fault(("clock jump",)):
            self._offset = self.jump * self._random.uniform(-1, 1)
        return datetime.now(UTC) + self._offset


class FaultyCluster:
    """One operator's view of *cluster*; once killed it neither reads nor writes any more."""

    def __init__(self, cluster: Cluster, schedule: Schedule) -> None:
        self._cluster = cluster
        self._schedule = schedule
        self._dead = False

    async def list(self, kind: Kind, **selection: Any) -> list[Object]:
        """See ``Cluster.list``."""
        self._check_alive()
        await self._begin(self._schedule.fault(READ_FAULTS), f"list {kind.plural}")
        return await self._cluster.list(kind, **selection)

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """See ``Cluster.apply``."""
        return await self._write("apply", lambda: self._cluster.apply(obj, manager=manager))

    async def replace(self, ref: Ref, path: str, **change: Any) -> Object:
        """See ``Cluster.replace``."""
        return await self._write("replace", lambda: self._cluster.replace(ref, path, **change))

    async def patch_status(self, ref: Ref, status: Mapping[str, Any], **identity: Any) -> Object:
        """See ``Cluster.patch_status``."""
        return await self._write("status", lambda: self._cluster.patch_status(ref, status, **identity))

    async def delete(self, ref: Ref, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """See ``Cluster.delete``."""

        async def gone() -> Object:
            await self._cluster.delete(ref, uid=uid, grace_seconds=grace_seconds)
            return {}

        await self._write("delete", gone)

    async def changes(self, kind: Kind, **selection: Any) -> AsyncIterator[Change]:
        """See ``Cluster.changes``: late, and after a cut with what happened in between as one difference."""
        known: dict[tuple[str, str], Object] = {}
        synced = False
        while True:
            async with aclosing(self._cluster.changes(kind, **selection)) as changes:  # type: ignore[type-var]
                for change in await _relisted(changes, known):
                    yield change
                if not synced:
                    synced = True
                    yield Change("Synced", {})
                async for change in changes:
                    fault = self._schedule.fault(("watch cut", "late change", "late change"))
                    if fault is not None:
                        await asyncio.sleep(self._schedule.delay())
                    if fault == "watch cut":
                        break
                    _remember(known, change)
                    yield change

    async def _write(self, what: str, write: Callable[[], Awaitable[Object]]) -> Object:
        self._check_alive()
        fault = self._schedule.fault(WRITE_FAULTS)
        if fault == "conflict":
            raise ConflictError(f"{what}: 409 injected")
        await self._begin(fault, what)
        if fault == "kill before":
            self._die(what)
        stored = await write()
        if fault == "kill after":
            self._die(what)
        if fault == "lost answer":
            raise UnavailableError(f"{what}: the answer was lost, injected")
        return stored

    async def _begin(self, fault: str | None, what: str) -> None:
        """Do what the faults of all calls do before the call."""
        if fault == "too many requests":
            raise RetryLaterError(f"{what}: 429 injected", retry_after=timedelta(seconds=self._schedule.delay()))
        if fault == "error":
            raise UnavailableError(f"{what}: 500 injected")
        if fault == "slow":
            await asyncio.sleep(self._schedule.delay())

    def _check_alive(self) -> None:
        if self._dead:
            raise Crash("dead already")

    def _die(self, what: str) -> None:
        self._dead = True
        raise Crash(what)


async def _relisted(changes: AsyncIterator[Change], known: dict[tuple[str, str], Object]) -> list[Change]:
    """Return how what is there now differs from *known*, and bring *known* up to date."""
    here: dict[tuple[str, str], Object] = {}
    async for change in changes:
        if change.type == "Synced":
            break
        here[_key(change.object)] = change.object
    found = [Change("Deleted", value) for key, value in known.items() if key not in here]
    for key, value in here.items():
        if value != known.get(key):
            found.append(Change("Modified" if key in known else "Added", value))
    known.clear()
    known.update(here)
    return found


def _remember(known: dict[tuple[str, str], Object], change: Change) -> None:
    if change.type == "Deleted":
        known.pop(_key(change.object), None)
    else:
        known[_key(change.object)] = change.object


def _key(value: Object) -> tuple[str, str]:
    return value["metadata"].get("namespace", ""), value["metadata"]["name"]
