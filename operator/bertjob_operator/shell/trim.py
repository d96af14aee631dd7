"""What of a Pod or Node a cache keeps: the fields that are read, because there are many pods and nodes are large."""

from collections.abc import Mapping
from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import NODE, POD, WORKLOAD, Kind, Object
from bertjob_operator.plan.reading import INDEX_ANNOTATION

_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "labels": (names.JOB_LABEL, names.COMPONENT_LABEL),
    "annotations": (INDEX_ANNOTATION, names.KSERVE_SOURCE_ANNOTATION),
}
_OWNER: Final = ("kind", "name", "uid", "controller")
_STATUS: Final[Mapping[Kind, tuple[str, ...]]] = {
    POD: ("phase", "podIP", "reason", "conditions"),
    NODE: ("conditions",),
    WORKLOAD: ("conditions", "schedulingStats"),
}
_SPEC: Final = ("nodeName", "active")
_CONTAINERS: Final = ("initContainerStatuses", "containerStatuses")
_STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "waiting": ("reason",),
    "terminated": ("exitCode", "reason", "message", "finishedAt"),
}


def trimmed(value: Object) -> Object:
    """Return *value*, a Pod, a Node or a Workload, with the fields that a plan may read."""
    kind = next(each for each in _STATUS if each.kind == value["kind"])
    given = value.get("status") or {}
    status = _only(given, _STATUS[kind])
    if kind == POD:
        status |= {key: [_container(each) for each in given[key]] for key in _CONTAINERS if given.get(key)}
    return {
        "apiVersion": value["apiVersion"],
        "kind": value["kind"],
        "metadata": _metadata(value["metadata"]),
        "spec": _only(value.get("spec") or {}, _SPEC),
        "status": status,
    }


def _metadata(given: Mapping[str, Any]) -> Object:
    kept = _only(given, _METADATA)
    kept |= {part: _only(given[part], keys) for part, keys in _PARTS.items() if given.get(part)}
    if given.get("ownerReferences"):
        kept["ownerReferences"] = [_only(owner, _OWNER) for owner in given["ownerReferences"]]
    return kept


def _container(given: Mapping[str, Any]) -> Object:
    kept = _only(given, ("restartCount",))
    for key in ("state", "lastState"):
        states = given.get(key) or {}
        kept |= {key: {name: _only(states[name], fields) for name, fields in _STATES.items() if states.get(name)}}
    return kept


def _only(value: Mapping[str, Any], keys: tuple[str, ...]) -> Object:
    return {key: value[key] for key in keys if key in value}
