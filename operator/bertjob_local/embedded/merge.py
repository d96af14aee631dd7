"""
How objects change: server-side apply reduced to what one writer per field needs, merge patch, and one-field replace.

Pure. Nothing here changes its arguments.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from bertjob_api.cluster import Object

Path = tuple[str, ...]
"""Keys from the top of an object to a leaf; lists are leaves, always replaced as a whole."""


def leaves(value: Mapping[str, Any], *, prefix: Path = ()) -> frozenset[Path]:
    """Return the paths of everything that *value* sets; an empty object is a leaf."""
    found: set[Path] = set()
    for key, item in value.items():
        path = (*prefix, key)
        found |= leaves(item, prefix=path) if isinstance(item, Mapping) and item else {path}
    return frozenset(found)


def without(base: Object, paths: Iterable[Path]) -> Object:
    """Return *base* without the leaves at *paths*, and without the objects that become empty by that."""
    result = copy.deepcopy(base)
    for path in paths:
        _remove(result, path)
    return result


def overlaid(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Object:
    """Return *base* with every field of *patch* put over it."""
    result = dict(base)
    for key, item in patch.items():
        old = base.get(key)
        result[key] = overlaid(old, item) if isinstance(item, Mapping) and isinstance(old, Mapping) else item
    return copy.deepcopy(result)


def merge_patched(base: Any, patch: Any) -> Any:
    """Return *base* after the merge patch *patch*. Source: RFC 7386, section 2."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(base) if isinstance(base, Mapping) else {}
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), item)
    return result


def steps(pointer: str) -> Path:
    """Return the keys of a JSON pointer. Source: RFC 6901, section 3."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def value_at(base: Any, path: Path) -> Any:
    """Return the value at *path*; KeyError or IndexError when there is none."""
    for step in path:
        base = base[int(step)] if isinstance(base, list) else base[step]
    return base


def replaced(base: Object, path: Path, new: object) -> Object:
    """Return *base* with the existing value at *path* replaced."""
    result = copy.deepcopy(base)
    parent = value_at(result, path[:-1])
    parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = copy.deepcopy(new)
    return result


def _remove(value: Object, path: Path) -> None:
    head, *rest = path
    if not rest:
        value.pop(head, None)
    elif isinstance(value.get(head), dict):
        _remove(value[head], tuple(rest))
        if not value[head]:
            del value[head]
