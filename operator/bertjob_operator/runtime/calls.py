"""
Requests to the Kubernetes API as values (pure); ``http`` sends them.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bertjob_api.cluster import Kind, Object, Ref, ref_of

APPLY_PATCH: Final = "application/apply-patch+yaml"
"""JSON is valid YAML, so the body is JSON all the same."""
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"

PAGE: Final = 100
"""Objects per page of a list: client-go asks for 500, which as Python objects are 10 MiB for pods before they are trimmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; ``what`` names verb and object in errors."""

    what: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """What to send as JSON, or None."""
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects a list or a watch is about."""

    kind: Kind
    namespace: str | None = None
    """None for all."""
    labels: Mapping[str, str] | None = None
    name: str | None = None

    def __str__(self) -> str:
        """Return the spelling for messages: ``pods in namespace default``."""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind.plural}{'.' if self.kind.group else ''}{self.kind.group}{where}"

    def query(self) -> dict[str, str]:
        """Return the selectors as URL parameters."""
        query = {}
        if self.labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in sorted(self.labels.items()))
        if self.name is not None:
            query["fieldSelector"] = f"metadata.name={self.name}"
        return query


def collection(kind: Kind, namespace: str | None = None) -> str:
    """Return the path of all objects of a kind, or of those in one namespace."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/{namespace}/{kind.plural}" if namespace and kind.namespaced else f"{root}/{kind.plural}"


def item(ref: Ref) -> str:
    """Return the path of one object."""
    assert bool(ref.namespace) == ref.kind.namespaced, f"{ref}: namespace and scope of the kind do not fit"
    return f"{collection(ref.kind, ref.namespace)}/{ref.name}"


def list_page(selection: Selection, *, token: str = "", limit: int = PAGE) -> Call:
    """Ask for the first page, or for the one that *token* of the page before leads to."""
    return Call(
        what=f"list {selection}",
        method="GET",
        path=collection(selection.kind, selection.namespace),
        query={**selection.query(), "limit": str(limit), **({"continue": token} if token else {})},
    )


def watch(selection: Selection, *, version: str, seconds: int) -> Call:
    """Ask for every change after *version*; the server ends the answer after *seconds*."""
    return Call(
        what=f"watch {selection}",
        method="GET",
        path=collection(selection.kind, selection.namespace),
        query={
            **selection.query(),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        },
    )


def apply(obj: Object, *, manager: str) -> Call:
    """Server-side apply, forced."""
    ref = ref_of(obj)
    return Call(
        what=f"apply {ref}",
        method="PATCH",
        path=item(ref),
        query={"fieldManager": manager, "force": "true"},
        body=obj,
        content_type=APPLY_PATCH,
    )


def replace(ref: Ref, path: str, *, old: object, new: object, uid: str, resource_version: str | None) -> Call:
    """Replace one field if it, the uid and the version are as given; all in one patch, so nothing comes between."""
    tests = [("/metadata/uid", uid), ("/metadata/resourceVersion", resource_version), (path, old)]
    return Call(
        what=f"replace {path} of {ref}",
        method="PATCH",
        path=item(ref),
        body=[
            *(
                {"op": "test", "path": where, "value": value}
                for where, value in tests
                if where == path or value is not None
            ),
            {"op": "replace", "path": path, "value": new},
        ],
        content_type=JSON_PATCH,
    )


def ignores_uid(kind: Kind) -> bool:
    """
    Return whether the API server takes a status patch for another uid: it does for custom resources.

    Source: k8s.io/apiextensions-apiserver, ``statusStrategy.PrepareForUpdate`` puts the old metadata back.
    """
    return "." in kind.group and not kind.group.endswith(".k8s.io")


def get(ref: Ref) -> Call:
    """Ask for one object."""
    return Call(what=f"get {ref}", method="GET", path=item(ref))


def patch_status(ref: Ref, status: Mapping[str, Any], *, uid: str | None, version: str | None = None) -> Call:
    """Merge into the status subresource; a uid in a patch must be that of the object, a version its newest."""
    given = {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value is not None}
    metadata = {"metadata": given} if given else {}
    return Call(
        what=f"patch status of {ref}",
        method="PATCH",
        path=f"{item(ref)}/status",
        body={**metadata, "status": dict(status)},
        content_type=MERGE_PATCH,
    )


def delete(ref: Ref, *, uid: str | None, grace_seconds: int | None) -> Call:
    """Delete one object, and in the background what it owns."""
    options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    if uid is not None:
        options["preconditions"] = {"uid": uid}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return Call(what=f"delete {ref}", method="DELETE", path=item(ref), body=options)
