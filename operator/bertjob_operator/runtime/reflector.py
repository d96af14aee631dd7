"""
List and watch as one endless stream of changes.

List once, then watch from the version of that list, again and again from the last version seen. When the server no
longer knows that version, list anew and deliver the difference, so that whoever listens never misses a deletion.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import Final, Protocol

from bertjob_api.cluster import Change, ClusterError, NotFoundError, Object
from bertjob_operator.runtime import delays
from bertjob_operator.runtime.delays import Timings
from bertjob_operator.runtime.errors import ExpiredError, RetryLaterError

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace ("" for cluster-wide kinds) and name."""
Known = dict[Key, Object]

SYNCED: Final = Change("Synced", {})


class Source(Protocol):
    """What is reflected."""

    async def objects(self) -> tuple[list[Object], str]:
        """Return all objects and the version of that state; NotFoundError: the server does not know the kind."""
        ...

    def events(self, version: str) -> AsyncGenerator[tuple[str, Object]]:
        """
        Yield (ADDED | MODIFIED | DELETED | BOOKMARK, object) for what came after *version*, until the server ends it.

        Raises:
            ExpiredError: *version* is too old.

        """
        ...


async def reflect(source: Source, *, timings: Timings) -> AsyncGenerator[Change]:
    """Yield what exists as Added, then Synced once, then every change, for ever."""
    known: Known = {}
    synced = False
    pause = _Pause(timings)
    while True:
        try:
            objects, version = await source.objects()
        except NotFoundError:
            objects, version = [], ""
        except ClusterError as error:
            await pause.after(error)
            continue
        for change in difference(known, objects):
            _remember(known, change)
            yield change
        if not synced:
            synced = True
            yield SYNCED
        if not version:
            await asyncio.sleep(timings.not_served.total_seconds())
            continue
        async with aclosing(_follow(source, version, known=known, pause=pause)) as changes:
            async for change in changes:
                yield change


def difference(known: Known, objects: Iterable[Object]) -> list[Change]:
    """Return the changes that lead from *known* to *objects*; a name with another uid was deleted and added."""
    found = {key_of(obj): obj for obj in objects}
    gone = [Change("Deleted", old) for key, old in known.items() if not _is_same(found.get(key), old)]
    new = [
        Change("Modified" if _is_same(known.get(key), obj) else "Added", obj)
        for key, obj in found.items()
        if not _is_same(known.get(key), obj) or _version(known[key]) != _version(obj)
    ]
    return gone + new


def key_of(obj: Object) -> Key:
    """Return what tells objects of one kind apart."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


async def _follow(source: Source, version: str, *, known: Known, pause: "_Pause") -> AsyncGenerator[Change]:
    """Yield changes after *version*, over any number of watches, until a new list is needed."""
    while True:
        pause.start()
        try:
            async with aclosing(source.events(version)) as events:
                async for event, obj in events:
                    pause.reset()
                    version = _version(obj)
                    if (change := _change(known, event, obj)) is not None:
                        _remember(known, change)
                        yield change
        except (ExpiredError, NotFoundError) as error:
            logger.info("%s; lists again", error)
            await pause.briefly()
            return
        except ClusterError as error:
            await pause.after(error)
        else:
            await pause.briefly()


def _change(known: Known, event: str, obj: Object) -> Change | None:
    """Return what an event means to somebody who knows *known*; None for a bookmark and for what is no news."""
    if event == "DELETED":
        return Change("Deleted", obj) if key_of(obj) in known else None
    if event not in ("ADDED", "MODIFIED"):
        return None
    return Change("Modified" if key_of(obj) in known else "Added", obj)


def _remember(known: Known, change: Change) -> None:
    if change.type == "Deleted":
        known.pop(key_of(change.object), None)
    else:
        known[key_of(change.object)] = change.object


def _is_same(other: Object | None, obj: Object) -> bool:
    """Tell whether both are one incarnation of one object."""
    return other is not None and other["metadata"].get("uid") == obj["metadata"].get("uid")


def _version(obj: Object) -> str:
    version = obj["metadata"]["resourceVersion"]
    assert isinstance(version, str)
    return version


class _Pause:
    """Waits between attempts: longer with each failure in a row, short again after a success."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._failures = 0
        self._started = 0.0

    def start(self) -> None:
        """Remember when an attempt began."""
        self._started = asyncio.get_running_loop().time()

    def reset(self) -> None:
        """Forget earlier failures."""
        self._failures = 0

    async def after(self, error: ClusterError) -> None:
        """Tell of *error* and wait."""
        wait = self._next()
        if isinstance(error, RetryLaterError):
            wait = max(wait, error.retry_after)
        logger.warning("%s; next attempt in %.1f s", error, wait.total_seconds())
        await asyncio.sleep(wait.total_seconds())

    async def briefly(self) -> None:
        """Wait after an end that is no error, unless it came late: a server that ends everything is not flooded."""
        if asyncio.get_running_loop().time() - self._started > self._timings.backoff_first.total_seconds():
            self.reset()
            return
        await asyncio.sleep(self._next().total_seconds())

    def _next(self) -> timedelta:
        timings = self._timings
        delay = delays.exponential(self._failures, first=timings.backoff_first, most=timings.backoff_most)
        self._failures += 1
        return delays.jittered(delay, share=random.random())  # noqa: S311  # spreads clients, keeps no secret
