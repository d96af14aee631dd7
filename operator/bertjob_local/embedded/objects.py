"""The objects in memory, and everybody who follows them."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime

from bertjob_api.cluster import Change, Kind, Object, Ref

STATUS_KINDS = frozenset({"BertJob", "Pod", "Service", "Node", "Namespace", "Job", "Deployment", "InferenceService"})
"""Kinds whose status is a subresource: writes of the object leave it alone."""
_COUNTED_KINDS = frozenset(
    {"BertJob", "Pod", "Job", "Deployment", "InferenceService", "NetworkPolicy", "ServingRuntime"}
)
"""Kinds with a generation."""

Follower = Callable[[Object | None, Object | None], None]
"""Takes what an object was and what it is; None for absent."""


def timestamp(moment: datetime | None = None) -> str:
    """Return *moment* (None: now) as Kubernetes writes times."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_selected(obj: Object, labels: Mapping[str, str] | None) -> bool:
    """Return whether *obj* carries all *labels*."""
    have = obj["metadata"].get("labels") or {}
    return all(have.get(key) == value for key, value in (labels or {}).items())


class Objects:
    """Every object by its reference; stored objects are never changed, only replaced."""

    def __init__(self) -> None:
        self._objects: defaultdict[Kind, dict[Ref, Object]] = defaultdict(dict)
        self._followers: list[tuple[Kind, str | None, Follower]] = []
        self._version = 0

    def get(self, ref: Ref) -> Object | None:
        """Return one object, or None when it is absent."""
        return self._objects[ref.kind].get(ref)

    def select(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> list[Object]:
        """Return the objects of *kind* that fit, oldest first."""
        return [
            obj
            for ref, obj in self._objects[kind].items()
            if namespace in (None, ref.namespace) and name in (None, ref.name) and is_selected(obj, labels)
        ]

    def owned_by(self, uid: str) -> list[Ref]:
        """Return the objects whose only owner is *uid*."""
        return [
            ref
            for objects in self._objects.values()
            for ref, obj in objects.items()
            if [owner["uid"] for owner in obj["metadata"].get("ownerReferences", ())] == [uid]
        ]

    def put(self, ref: Ref, obj: Object) -> Object:
        """Store *obj* with its server-side metadata and return it; nothing happens when it is stored already."""
        old = self.get(ref)
        metadata = {**obj["metadata"], **self._identity(ref, old)}
        if old is not None and {**obj, "metadata": metadata} == old:
            return old
        if ref.kind.kind in _COUNTED_KINDS:
            moved = old is None or _wanted(old) != _wanted(obj)
            metadata["generation"] = (old["metadata"]["generation"] if old else 0) + moved
        metadata["resourceVersion"] = self._next_version()
        stored = {**obj, "metadata": metadata}
        self._objects[ref.kind][ref] = stored
        self._tell(ref, old, stored)
        return stored

    def drop(self, ref: Ref) -> Object:
        """Forget an existing object and return its last state."""
        old = self._objects[ref.kind].pop(ref)
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": self._next_version()}}
        self._tell(ref, last, None)
        return last

    def follow(self, kind: Kind, namespace: str | None, follower: Follower) -> Callable[[], None]:
        """Call *follower* at each change of *kind*; call the result to end that."""
        entry = (kind, namespace, follower)
        self._followers.append(entry)
        return lambda: self._followers.remove(entry)

    async def changes(
        self, kind: Kind, *, namespace: str | None, labels: Mapping[str, str] | None
    ) -> AsyncGenerator[Change]:
        """Yield what ``Cluster.changes`` promises."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        for obj in self.select(kind, namespace=namespace, labels=labels):
            queue.put_nowait(Change("Added", obj))
        queue.put_nowait(Change("Synced", {}))

        def follower(old: Object | None, new: Object | None) -> None:
            was = old is not None and is_selected(old, labels)
            if new is not None and is_selected(new, labels):
                queue.put_nowait(Change("Modified" if was else "Added", new))
            elif was:
                gone = new or old
                assert gone is not None, "a change has at least one side"
                queue.put_nowait(Change("Deleted", gone))

        unfollow = self.follow(kind, namespace, follower)
        try:
            while True:
                yield await queue.get()
        finally:
            unfollow()

    def _identity(self, ref: Ref, old: Object | None) -> Object:
        given = ("uid", "creationTimestamp", "resourceVersion", "generation")
        if old is not None:
            return {key: old["metadata"][key] for key in given if key in old["metadata"]}
        place = {"namespace": ref.namespace} if ref.kind.namespaced else {}
        return {**place, "uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _tell(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        for kind, namespace, follower in tuple(self._followers):
            if kind == ref.kind and namespace in (None, ref.namespace):
                follower(old, new)


def _wanted(obj: Object) -> Object:
    """Return what a generation counts: everything but metadata and status."""
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}
