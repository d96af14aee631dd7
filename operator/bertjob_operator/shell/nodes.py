"""Which nodes are silent; of thousands that are Ready none is looked at twice."""

from collections.abc import Iterable
from datetime import datetime

from bertjob_api.cluster import Object
from bertjob_operator.plan.clock import instant
from bertjob_operator.runtime.store import Store


class NodeBook:
    """
    Keeps the names of the nodes that are Ready.

    Args:
        there: the store that they come from.

    """

    def __init__(self, there: Store) -> None:
        self._there = there
        self._ready: set[str] = set()
        there.listen(self._note)

    def silent(self, names: Iterable[str]) -> dict[str, datetime | None]:
        """Return which of *names* are not Ready, and since when; None: gone. No node is known at all: nothing is known."""
        if not len(self._there):
            return {}
        return {name: self._since(name) for name in set(names) - self._ready}

    def _since(self, name: str) -> datetime | None:
        node = self._there.get("", name)
        return instant(_ready(node).get("lastTransitionTime")) if node is not None else None

    def _note(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _ready(new).get("status") == "True":
            self._ready.add(new["metadata"]["name"])
        elif (gone := new or old) is not None:
            self._ready.discard(gone["metadata"]["name"])


def _ready(node: Object) -> Object:
    conditions = (node.get("status") or {}).get("conditions") or ()
    found: Object = next((item for item in conditions if item["type"] == "Ready"), {})
    return found
