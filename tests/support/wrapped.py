"""Clusters that count what is written, and that crash whoever writes."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from bertjob_api.cluster import EVENT, Change, Cluster, Kind, Object, Ref, ref_of


class Crash(BaseException):  # not an error: nothing may catch it
    """The end of the process between two steps."""


class Wrapped:
    """
    Passes everything on and records each write; lists are counted.

    Args:
        cluster: the cluster behind.
        crash_before: ordinal of the write before which to crash; None: never.
        crash_after: ordinal of the write after which to crash, its answer lost; None: never.

    """

    def __init__(self, cluster: Cluster, *, crash_before: int | None = None, crash_after: int | None = None) -> None:
        self.cluster = cluster
        self.writes: list[str] = []
        self.num_lists = 0
        self._crash_before = crash_before
        self._crash_after = crash_after

    async def list(self, kind: Kind, **selection: Any) -> list[Object]:
        """See ``Cluster.list``."""
        self.num_lists += 1
        return await self.cluster.list(kind, **selection)

    def changes(self, kind: Kind, **selection: Any) -> AsyncIterator[Change]:
        """See ``Cluster.changes``."""
        return self.cluster.changes(kind, **selection)

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """See ``Cluster.apply``."""
        self._begin(f"apply {ref_of(obj)}")
        return self._answer(await self.cluster.apply(obj, manager=manager))

    async def replace(self, ref: Ref, path: str, **change: Any) -> Object:
        """See ``Cluster.replace``."""
        self._begin(f"replace {ref} {path}")
        return self._answer(await self.cluster.replace(ref, path, **change))

    async def patch_status(self, ref: Ref, status: Mapping[str, Any], **identity: Any) -> Object:
        """See ``Cluster.patch_status``."""
        self._begin(f"status {ref}")
        return self._answer(await self.cluster.patch_status(ref, status, **identity))

    async def delete(self, ref: Ref, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """See ``Cluster.delete``."""
        self._begin(f"delete {ref}")
        await self.cluster.delete(ref, uid=uid, grace_seconds=grace_seconds)
        self._answer({})

    def without_events(self) -> "list[str]":
        """Return the writes that are not events."""
        return [write for write in self.writes if not write.startswith(f"apply {EVENT.kind} ")]

    def _begin(self, what: str) -> None:
        if len(self.writes) == self._crash_before:
            raise Crash(what)
        self.writes.append(what)

    def _answer(self, stored: Object) -> Object:
        if len(self.writes) - 1 == self._crash_after:
            raise Crash(self.writes[-1])
        return stored
