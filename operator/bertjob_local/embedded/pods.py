"""Reading and making pods. Pure."""

import copy
from collections.abc import Mapping
from typing import Any

from bertjob_api.cluster import Object

TRACKING = "batch.kubernetes.io/job-tracking"
"""Finalizer that keeps a Job's pod until it is counted. Source: Kubernetes documentation, "Job tracking with finalizers"."""


def is_ended(pod: Object) -> bool:
    """Return whether the pod's phase is final."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_terminating(pod: Object) -> bool:
    """Return whether the pod was asked to end and has not."""
    return "deletionTimestamp" in pod["metadata"] and not is_ended(pod)


def is_active(pod: Object) -> bool:
    """Return whether the pod runs or will."""
    return not is_ended(pod) and not is_terminating(pod)


def has_condition(obj: Object, kind: str) -> bool:
    """Return whether the condition *kind* is True."""
    return condition(obj, kind).get("status") == "True"


def condition(obj: Object, kind: str) -> Object:
    """Return the condition *kind*, {} when it is not set."""
    found = (each for each in obj.get("status", {}).get("conditions", ()) if each["type"] == kind)
    return next(found, {})


def with_condition(obj: Object, kind: str, status: str, **fields: str) -> list[Object]:
    """
    Return the conditions of *obj* with one set; its transition time stays while its status does.

    Args:
        obj: any object with conditions.
        kind: its type.
        status: "True", "False" or "Unknown".
        **fields: reason, message, and ``now`` as the transition time.

    """
    now = fields.pop("now")
    old = condition(obj, kind)
    since = old.get("lastTransitionTime", now) if old.get("status") == status else now
    fresh = {"type": kind, "status": status, "lastTransitionTime": since, **fields}
    others = [each for each in obj.get("status", {}).get("conditions", ()) if each["type"] != kind]
    return [*others, fresh]


def from_template(owner: Object, template: Mapping[str, Any], *, name: str, labels: Mapping[str, str]) -> Object:
    """Return a pod of *owner* as its template says."""
    given = copy.deepcopy(dict(template.get("metadata") or {}))
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        **given,
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": {**(given.get("labels") or {}), **labels},
        "ownerReferences": [reference],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(dict(template["spec"]))}


def owner_uid(obj: Object) -> str | None:
    """Return the uid of the controlling owner, or None."""
    owners = obj["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)
