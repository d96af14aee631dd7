"""The user's overlay on the training pods (``spec.training.podTemplate``)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import Object

_PATH: Final = "spec.training.podTemplate"
_TAKEN_OVER: Final = (
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "nodeSelector",
    "preemptionPolicy",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "topologySpreadConstraints",
)
"""Pod fields that the operator does not set, or that the user may know better."""
_APPENDED: Final = ("imagePullSecrets", "initContainers", "tolerations", "volumes")
_CONTAINER_APPENDED: Final = ("env", "envFrom", "volumeMounts")


def problems(overlay: Mapping[str, Any] | None, template: Object) -> list[str]:
    """Return what the overlay may not contain, one sentence each: path, reason, next step."""
    if overlay is None:
        return []
    spec = overlay.get("spec") or {}
    found = [f"{_PATH}.{key}: is not supported; use metadata and spec" for key in overlay if key not in _TOP]
    found += _metadata_problems(overlay.get("metadata") or {})
    allowed = (*_TAKEN_OVER, *_APPENDED, "containers")
    found += [f"{_PATH}.spec.{key}: is set by the operator; remove it" for key in spec if key not in allowed]
    ours = template["spec"]
    found += _clashes(f"{_PATH}.spec.volumes", spec.get("volumes"), ours["volumes"])
    for container in spec.get("containers") or ():
        found += _container_problems(container, ours["containers"][0])
    return found


_TOP: Final = ("metadata", "spec")


def _metadata_problems(metadata: Mapping[str, Any]) -> list[str]:
    found = [
        f"{_PATH}.metadata.{key}: is set by the operator; only labels and annotations may be added"
        for key in metadata
        if key not in ("labels", "annotations")
    ]
    return found + [
        f"{_PATH}.metadata.{part}.{key}: is reserved for the operator; choose another key"
        for part in ("labels", "annotations")
        for key in metadata.get(part) or {}
        if key.startswith(f"{names.GROUP}/") or key in (names.MANAGED_BY_LABEL, names.PART_OF_LABEL)
    ]


def _container_problems(container: Mapping[str, Any], ours: Object) -> list[str]:
    name = container.get("name")
    path = f"{_PATH}.spec.containers[{name}]"
    if name != ours["name"]:
        return [f"{path}: a second container would keep the pod running; add to {ours['name']}, or use initContainers"]
    allowed = ("name", *_CONTAINER_APPENDED)
    found = [f"{path}.{key}: is set by the operator; remove it" for key in container if key not in allowed]
    found += _clashes(f"{path}.env", container.get("env"), ours["env"])
    return found + _clashes(
        f"{path}.volumeMounts", container.get("volumeMounts"), ours["volumeMounts"], key="mountPath"
    )


def _clashes(
    path: str, added: Iterable[Mapping[str, Any]] | None, ours: Iterable[Mapping[str, Any]], *, key: str = "name"
) -> list[str]:
    reserved = {item[key] for item in ours}
    return [f"{path}[{item[key]}]: is set by the operator; remove it" for item in added or () if item[key] in reserved]


def merged(template: Object, overlay: Mapping[str, Any] | None) -> Object:
    """Return *template* with the overlay on it, which must have no ``problems``."""
    if overlay is None:
        return template
    metadata, spec = overlay.get("metadata") or {}, overlay.get("spec") or {}
    container = (spec.get("containers") or [{}])[0]
    ours = template["spec"]["containers"][0]
    merged_container = {**ours, **_appended(ours, container, _CONTAINER_APPENDED)}
    taken = {key: spec[key] for key in _TAKEN_OVER if key in spec}
    return {
        "metadata": {
            part: {**(metadata.get(part) or {}), **template["metadata"][part]} for part in ("labels", "annotations")
        },
        "spec": {
            **template["spec"],
            **taken,
            **_appended(template["spec"], spec, _APPENDED),
            "containers": [merged_container],
        },
    }


def _appended(ours: Mapping[str, Any], added: Mapping[str, Any], keys: Iterable[str]) -> Object:
    return {key: [*ours.get(key, ()), *added[key]] for key in keys if added.get(key)}
