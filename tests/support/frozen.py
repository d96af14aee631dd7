# ruff: noqa: ARG002  # a fake has the parameters of what it stands for
"""A cluster in which nothing happens, with as many jobs as wanted, and what it was asked."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from bertjob_api.cluster import Change, Kind, Object, Ref, ref_of


def copies(objects: Iterable[Object], kind: Kind, *, name: str, count: int) -> Iterator[Object]:
    """Yield those of the job *name* and its children that are of *kind*, *count* times under names and uids of their own."""
    uids = [each["metadata"]["uid"] for each in objects]
    texts = [json.dumps(each) for each in objects if ref_of(each).kind == kind]
    for index in range(count):
        for text in texts:
            changed = text.replace(name, f"{name}-{index}")
            for uid in uids:
                changed = changed.replace(uid, str(uuid.uuid5(uuid.UUID(uid), str(index))))
            yield orjson.loads(changed)  # as the HTTP client does: keys are shared


class FrozenCluster:
    """Shows the *objects* of each kind for ever; a write changes nothing and is counted, as is a list."""

    def __init__(self, objects: Callable[[Kind], Iterable[Object]]) -> None:
        self.asked: Counter[str] = Counter()
        self._objects = objects

    async def list(self, kind: Kind, **selection: Any) -> list[Object]:
        """See ``Cluster.list``; finds nothing."""
        self.asked[f"list {kind.plural}"] += 1
        return []

    async def changes(
        self, kind: Kind, *, keep: Callable[[Object], Object] | None = None, **selection: Any
    ) -> AsyncIterator[Change]:
        """Yield every object, and nothing more."""
        for each in self._objects(kind):
            yield Change("Added", each if keep is None else keep(each))
        yield Change("Synced", {})
        await asyncio.Event().wait()

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """See ``Cluster.apply``."""
        self.asked[f"apply {obj['kind']}"] += 1
        return obj

    async def replace(self, ref: Ref, path: str, **change: Any) -> Object:
        """See ``Cluster.replace``."""
        self.asked[f"replace {ref.kind.kind}"] += 1
        return {"metadata": {"uid": "", "name": ref.name}}

    async def patch_status(self, ref: Ref, status: Mapping[str, Any], *, uid: str | None = None, **more: Any) -> Object:
        """See ``Cluster.patch_status``."""
        self.asked[f"status {ref.kind.kind}"] += 1
        return {"metadata": {"uid": uid or "", "name": ref.name}}

    async def delete(self, ref: Ref, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """See ``Cluster.delete``."""
        self.asked[f"delete {ref.kind.kind}"] += 1
