"""
Kubernetes objects to the types of ``children``.

Total: a field that is absent gives None or 0, as in the API's own defaults.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import Object
from bertjob_api.parse import InvalidSpecError, parse
from bertjob_api.status import HistoryEntry, LastFailure
from bertjob_api.termination import decode
from bertjob_operator.plan.children import (
    Deployment,
    Ended,
    History,
    InferenceService,
    Job,
    Pod,
    Pods,
    RolloutRecord,
    Service,
    Workload,
)
from bertjob_operator.plan.clock import instant
from bertjob_operator.plan.metadata import DISRUPTED_ANNOTATION

INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"
HISTORY_KEY: Final = "history.json"
ROLLOUT_KEY: Final = "rollout.json"

_TAKEN_OUT: Final = "Deactivated"
"""How Kueue's reasons begin when a Workload was made inactive: by us, an administrator, or its limits."""
_STARTING: Final = ("ContainerCreating", "PodInitializing")


def pod(value: Object) -> Pod:
    """Return what matters of a core/v1 Pod."""
    metadata, status = value["metadata"], value.get("status") or {}
    conditions = tuple(status.get("conditions") or ())
    holds = {item["type"] for item in conditions if item.get("status") == "True"}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    node = value.get("spec", {}).get("nodeName")
    annotations = metadata.get("annotations") or {}
    index = annotations.get(INDEX_ANNOTATION)
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=status.get("phase", "Pending"),
        ready="Ready" in holds,
        scheduled=node is not None,
        node=node,
        ip=status.get("podIP"),
        index=int(index) if index is not None else None,
        deletion=instant(metadata.get("deletionTimestamp")),
        disrupted="DisruptionTarget" in holds,
        trouble=_trouble(containers),
        crashes=sum(item.get("restartCount", 0) for item in containers),
        ended=_ended(containers, status),
        last_words=_last_words(containers),
        source_uri=annotations.get(names.KSERVE_SOURCE_ANNOTATION),
        reason=status.get("reason"),
        conditions=conditions,
    )


def _trouble(containers: Iterable[Mapping[str, Any]]) -> str | None:
    waiting = [(item.get("state") or {}).get("waiting") or {} for item in containers]
    reasons = [str(item["reason"]) for item in waiting if item.get("reason") not in (None, *_STARTING)]
    return reasons[0] if reasons else None


def _last_words(containers: Iterable[Mapping[str, Any]]) -> str | None:
    for item in containers:
        last = (item.get("lastState") or {}).get("terminated")
        if last is not None and last.get("exitCode") != 0:
            return str(last.get("message") or last.get("reason") or f"exit code {last.get('exitCode')}")
    return None


def _ended(containers: Iterable[Mapping[str, Any]], status: Mapping[str, Any]) -> Ended | None:
    """Return how the pod ended: by the container that failed, else by the last one; None while it runs."""
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    found = [state for item in containers if (state := (item.get("state") or {}).get("terminated")) is not None]
    if not found:
        return None
    state = next((item for item in found if item.get("exitCode") != 0), found[-1])
    message = state.get("message") or ""
    return Ended(
        exit_code=state.get("exitCode", 0),
        reason=state.get("reason") or "Error",
        message=message,
        result=decode(message),
        time=instant(state.get("finishedAt")),
    )


def job(value: Object, pods: Pods, workloads: Iterable[Object] = ()) -> Job:
    """Return what matters of a batch/v1 Job, with its *pods* and Kueue's *workloads*."""
    metadata, spec, status = value["metadata"], value.get("spec") or {}, value.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or () if item.get("status") == "True"}
    annotations = metadata.get("annotations") or {}
    complete, failed = conditions.get("Complete"), conditions.get("Failed")
    last = complete or failed or {}
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        created=instant(metadata.get("creationTimestamp")),
        completions=spec.get("completions", 1),
        suspended=spec.get("suspend", False),
        complete=complete is not None,
        failed=failed is not None,
        failed_reason=failed.get("reason") if failed else None,
        failed_message=failed.get("message") if failed else None,
        finished=instant(last.get("lastTransitionTime")),
        spec=spec,
        started=instant(status.get("startTime")),
        version=metadata.get("resourceVersion", ""),
        labels=metadata.get("labels") or {},
        annotations=annotations,
        disrupted=frozenset(annotations.get(DISRUPTED_ANNOTATION, "").split()),
        pods=pods,
        workloads=tuple(workload(each) for each in workloads if not _holds(each, "Finished")),
    )


def workload(value: Object) -> Workload:
    """Return what matters of Kueue's Workload."""
    metadata, status = value["metadata"], value.get("status") or {}
    said = {item["type"]: item.get("message") for item in status.get("conditions") or ()}
    admitted, evicted = _holds(value, "Admitted"), _holds(value, "Evicted")
    words = dict.fromkeys(said.get(kind) for kind in (*(["Evicted"] if evicted else []), "QuotaReserved"))
    evictions = (status.get("schedulingStats") or {}).get("evictions") or ()
    return Workload(
        name=metadata["name"],
        uid=metadata["uid"],
        active=(value.get("spec") or {}).get("active", True),
        admitted=admitted and not evicted,
        evicted=evicted,
        evictions=sum(item["count"] for item in evictions if not item["reason"].startswith(_TAKEN_OUT)),
        message=None if admitted and not evicted else "; ".join(word for word in words if word) or None,
    )


def _holds(value: Object, kind: str) -> bool:
    conditions = (value.get("status") or {}).get("conditions") or ()
    return any(item["type"] == kind and item.get("status") == "True" for item in conditions)


def service(value: Object) -> Service:
    """Return what matters of a core/v1 Service."""
    address = (value.get("spec") or {}).get("clusterIP")
    return Service(
        name=value["metadata"]["name"],
        uid=value["metadata"]["uid"],
        cluster_ip=address if address not in (None, "", "None") else None,
    )


def inference_service(value: Object) -> InferenceService:
    """Return what matters of an InferenceService."""
    model = ((value.get("spec") or {}).get("predictor") or {}).get("model") or {}
    return InferenceService(
        name=value["metadata"]["name"],
        uid=value["metadata"]["uid"],
        resource_version=value["metadata"].get("resourceVersion", ""),
        storage_uri=model.get("storageUri"),
        url=(value.get("status") or {}).get("url"),
    )


def deployment(value: Object) -> Deployment:
    """Return what matters of a Deployment."""
    metadata, spec, status = value["metadata"], value.get("spec") or {}, value.get("status") or {}
    template = ((spec.get("template") or {}).get("metadata") or {}).get("annotations") or {}
    return Deployment(
        source_uri=template.get(names.KSERVE_SOURCE_ANNOTATION),
        current=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        wanted=spec.get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        terminating=status.get("terminatingReplicas", 0),
    )


def history(value: Object) -> History:
    """Return the model history in a ConfigMap; what cannot be read counts as absent."""
    data = value.get("data") or {}
    return History(
        entries=tuple(_entries(data.get(HISTORY_KEY) or "[]")),
        rollout=_record(data.get(ROLLOUT_KEY) or "null"),
    )


def _entries(text: str) -> list[HistoryEntry]:
    try:
        return [parse(HistoryEntry, item, path="history") for item in json.loads(text)]
    except (ValueError, TypeError, InvalidSpecError):
        return []


def _record(text: str) -> RolloutRecord | None:
    try:
        value = json.loads(text)
        if not value:
            return None
        failure = value.get("failure")
        parsed = parse(LastFailure, failure, path="failure") if failure is not None else None
        return RolloutRecord(**{**value, "started": instant(value["started"]), "failure": parsed})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
