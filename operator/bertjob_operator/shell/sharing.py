"""Equal parts of cached objects, kept once: most jobs look alike, down to whole containers."""

from typing import Final

import orjson

from bertjob_api.cluster import Object

GENERATION: Final = 2048
"""Parts that are remembered before the ones that nobody asked for since are forgotten."""
LARGEST: Final = 2048
"""Bytes of a part, as JSON, that is worth remembering: larger ones hold the name of their job."""
LONGEST: Final = 256
"""Characters of a string that is worth remembering."""
_OWN: Final = frozenset({"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"})
"""Metadata that no two objects share."""

Key = str | bytes


class Pool:
    """
    Remembers parts of objects; a part that comes again is the same Python object.

    Whoever gets one must not change it. Bounded, and in two generations: ``sys.intern`` would keep every name, uid and time
    for ever on some releases of Python.
    """

    def __init__(self) -> None:
        self._young: dict[Key, object] = {}
        self._old: dict[Key, object] = {}

    def keep(self, value: Object) -> Object:
        """Return an object equal to *value* whose parts are shared with those that were kept before."""
        kept = {key: self.share(part) for key, part in value.items() if key != "metadata"}
        metadata = {key: part if key in _OWN else self.share(part) for key, part in value["metadata"].items()}
        return {**kept, "metadata": metadata}

    def share(self, value: object) -> object:
        """Return what was remembered for an equal *value*, else *value* made of such parts."""
        if isinstance(value, str):
            return self._found(value, value) if len(value) <= LONGEST else value
        if not isinstance(value, dict | list):
            return value
        key = orjson.dumps(value)  # unlike the values themselves it tells true from 1
        return self._found(key, value) if len(key) <= LARGEST else self._of_parts(value)

    def parts(self) -> list[tuple[Key, object]]:
        """Return what is remembered: containers by their JSON, strings by themselves."""
        return [*self._old.items(), *self._young.items()]

    def _found(self, key: Key, value: object) -> object:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            self._remember(key, found := self._of_parts(value) if found is None else found)
        return found

    def _remember(self, key: Key, value: object) -> None:
        if len(self._young) >= GENERATION:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def _of_parts(self, value: object) -> object:
        if isinstance(value, dict):
            return {self.share(key): self.share(item) for key, item in value.items()}
        return [self.share(item) for item in value] if isinstance(value, list) else value
