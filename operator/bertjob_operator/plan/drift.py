"""Whether what we want stands already."""

from collections.abc import Mapping
from typing import Any


def stands(wanted: Any, found: Any) -> bool:
    """
    Tell whether every field of *wanted* stands in *found*; what others added does not matter.

    Lists of objects are compared as sets of items (admission may add containers, tolerations or volumes), other lists as a
    whole: an argv must be equal.
    """
    if wanted == found:  # as most of most objects is: one comparison in C
        return True
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and stands(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        if not isinstance(found, list | tuple):
            return False
        if wanted and isinstance(wanted[0], Mapping):
            return all(any(stands(item, other) for other in found) for item in wanted)
        return list(wanted) == list(found)
    return False
