"""What of an object a cache keeps: the fields that are read, because there are many pods and nodes are large."""

import sys
from collections.abc import Mapping
from typing import Final

from bertjob_api.cluster import NODE, POD, WORKLOAD, Kind, Object

_METADATA: Final = (
    *("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"),
    *("labels", "annotations", "ownerReferences"),
)
_STATUS: Final[Mapping[Kind, tuple[str, ...]]] = {
    POD: ("phase", "podIP", "reason", "conditions", "initContainerStatuses", "containerStatuses"),
    NODE: ("conditions",),
    WORKLOAD: ("conditions", "schedulingStats"),
}
_SPEC: Final = ("nodeName", "active")
_SHORT: Final = 256
"""Characters of a string that is worth looking up."""
_CONTAINER: Final = ("name", "restartCount", "state", "lastState")


def trimmed(value: Object) -> Object:
    """Return *value*, a Pod, a Node or a Workload, with the fields that a plan may read."""
    kind = next(each for each in _STATUS if each.kind == value["kind"])
    status = _only(value.get("status") or {}, _STATUS[kind])
    for key in ("initContainerStatuses", "containerStatuses"):
        if key in status:
            status[key] = [_only(each, _CONTAINER) for each in status[key]]
    return shared(
        {
            "apiVersion": value["apiVersion"],
            "kind": value["kind"],
            "metadata": _only(value["metadata"], _METADATA),
            "spec": _only(value.get("spec") or {}, _SPEC),
            "status": status,
        }
    )


def shared(value: Object) -> Object:
    """Return *value* with short strings that it has in common with others kept once: most jobs look alike."""
    found = _shared(value)
    assert isinstance(found, dict)
    return found


def _shared(value: object) -> object:
    if isinstance(value, str):
        return sys.intern(value) if len(value) <= _SHORT else value
    if isinstance(value, dict):
        return {key: _shared(item) for key, item in value.items()}
    return [_shared(item) for item in value] if isinstance(value, list) else value


def _only(value: Mapping[str, object], keys: tuple[str, ...]) -> Object:
    return {key: value[key] for key in keys if key in value}
