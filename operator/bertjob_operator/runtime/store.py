"""The objects of one kind as last seen, by name, owner and label."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator

from bertjob_api.cluster import Change, Object

Key = tuple[str, str]
"""Namespace ("" for cluster-wide kinds) and name."""
Listener = Callable[[Object | None, Object | None], None]
"""Gets an object as it was and as it is; None: it was not there, it is gone."""


class Store:
    """
    A cache fed with changes.

    Args:
        sources: streams of changes that feed it; it is synced when each has said so.

    """

    def __init__(self, *, sources: int = 1) -> None:
        self.synced = asyncio.Event()
        self._waits_for = sources
        self._objects: dict[Key, Object] = {}
        self._by_owner: defaultdict[str, set[Key]] = defaultdict(set)
        self._by_label: dict[str, defaultdict[str, set[Key]]] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Tell *listener* of every change from now on."""
        self._listeners.append(listener)

    def feed(self, change: Change) -> Object | None:
        """Take in *change* and return what stood there before it, or None."""
        if change.type == "Synced":
            self._waits_for -= 1
            if self._waits_for == 0:
                self.synced.set()
            return None
        metadata = change.object["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        old = self._remove(key)
        if change.type != "Deleted":
            self._insert(key, change.object)
        for listener in self._listeners:
            listener(old, change.object if change.type != "Deleted" else None)
        return old

    def get(self, namespace: str, name: str) -> Object | None:
        """Return one object, or None; *namespace* is "" for cluster-wide kinds."""
        return self._objects.get((namespace, name))

    def by_owner(self, uid: str) -> list[Object]:
        """Return the objects with an ownerReference to *uid*, by namespace and name."""
        return self._sorted(self._by_owner.get(uid, ()))

    def by_label(self, label: str, value: str) -> list[Object]:
        """Return the objects with this label, by namespace and name; the first use of a label builds its index."""
        if label not in self._by_label:
            index = self._by_label[label] = defaultdict(set)
            for key, obj in self._objects.items():
                if (found := _labels(obj).get(label)) is not None:
                    index[found].add(key)
        return self._sorted(self._by_label[label].get(value, ()))

    def __iter__(self) -> Iterator[Object]:
        """Yield every object that is there now, in no order."""
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def _sorted(self, keys: "set[Key] | tuple[()]") -> list[Object]:
        return [self._objects[key] for key in sorted(keys)]

    def _insert(self, key: Key, obj: Object) -> None:
        self._objects[key] = obj
        for uid in _owners(obj):
            self._by_owner[uid].add(key)
        for label, index in self._by_label.items():
            if (value := _labels(obj).get(label)) is not None:
                index[value].add(key)

    def _remove(self, key: Key) -> Object | None:
        old = self._objects.pop(key, None)
        if old is None:
            return None
        for uid in _owners(old):
            _discard(self._by_owner, uid, key)
        for label, index in self._by_label.items():
            if (value := _labels(old).get(label)) is not None:
                _discard(index, value, key)
        return old


def _owners(obj: Object) -> set[str]:
    return {owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()}


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _discard(index: defaultdict[str, set[Key]], value: str, key: Key) -> None:
    """Remove *key*, and the entry with the last one: values such as uids never come back."""
    index[value].discard(key)
    if not index[value]:
        del index[value]
