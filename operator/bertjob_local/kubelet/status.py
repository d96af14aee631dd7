"""A pod's status from what the kubelet knows. Pure. Source: Kubernetes API reference, "PodStatus"."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bertjob_api.cluster import Object
from bertjob_local.kubelet.records import Ended, Record, Running, State, Waiting, pod_phase

OWN_CONDITIONS = ("Initialized", "ContainersReady", "Ready", "PodReadyToStartContainers")
"""Condition types that the kubelet sets; others belong to scheduler and controllers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a pod's status is made of."""

    pod: Object
    """As the cluster has it."""
    init: Sequence[Record]
    main: Sequence[Record]
    pod_ip: str
    host_ip: str
    start_time: datetime
    is_ended: bool = False
    """Nothing runs any more and nothing will, whatever the restart policy says: the pod was deleted or lost."""
    reason: str = ""
    """Why the whole pod failed; "": see its containers."""
    message: str = ""


def pod_status(facts: Facts, *, now: datetime) -> Object:
    """Return the status to write; conditions of other writers are kept."""
    policy = facts.pod["spec"].get("restartPolicy", "Always")
    phase = pod_phase("Never" if facts.is_ended else policy, init=facts.init, main=facts.main)
    if facts.is_ended and phase in ("Pending", "Running"):
        phase = "Failed"
    status = {
        "phase": phase,
        "conditions": _conditions(facts, phase, now),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "podIP": facts.pod_ip,
        "podIPs": [{"ip": facts.pod_ip}],
        "startTime": rfc3339(facts.start_time),
        "initContainerStatuses": [_container_status(each, is_init=True) for each in facts.init],
        "containerStatuses": [_container_status(each, is_init=False) for each in facts.main],
        "reason": facts.reason,
        "message": facts.message,
    }
    return {key: value for key, value in status.items() if value not in ("", [], [{"ip": ""}])}


def rfc3339(moment: datetime) -> str:
    """Return a time as Kubernetes writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _conditions(facts: Facts, phase: str, now: datetime) -> list[Object]:
    initialized = all(isinstance(each.state, Ended) and each.state.exit_code == 0 for each in facts.init)
    unready = [each.name for each in facts.main if not each.is_ready]
    runs = phase == "Running" and not facts.is_ended
    if runs and not unready:
        why = ("", "")
    elif phase == "Succeeded":
        why = ("PodCompleted", "")
    elif phase == "Failed":
        why = ("PodFailed", "")
    else:
        why = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    missing = [each.name for each in facts.init if not isinstance(each.state, Ended)]
    pending = ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(missing)}]")
    ready = runs and not unready
    values = {
        "Initialized": (initialized, ("", "") if initialized else pending),
        "ContainersReady": (ready, why),
        "Ready": (ready, why),
    }
    old = {each["type"]: each for each in facts.pod.get("status", {}).get("conditions", ())}
    foreign = [each for kind, each in old.items() if kind not in OWN_CONDITIONS]
    return [*foreign, *(_condition(kind, *value, old.get(kind), now) for kind, value in values.items())]


def _condition(kind: str, holds: bool, why: tuple[str, str], old: Object | None, now: datetime) -> Object:  # noqa: FBT001
    status = "True" if holds else "False"
    since = old["lastTransitionTime"] if old and old["status"] == status else rfc3339(now)
    condition = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    return {**condition, **{key: text for key, text in zip(("reason", "message"), why, strict=True) if text}}


def _container_status(record: Record, *, is_init: bool) -> Object:
    ended_well = isinstance(record.state, Ended) and record.state.exit_code == 0
    return {
        "name": record.name,
        "image": record.image,
        "imageID": "",
        "ready": ended_well if is_init else record.is_ready,
        "started": record.is_started,
        "restartCount": record.restarts,
        "state": _state(record.state),
        "lastState": {} if record.last is None else _state(record.last),
    }


def _state(state: State) -> Object:
    if isinstance(state, Waiting):
        return {"waiting": _filled(reason=state.reason, message=state.message)}
    if isinstance(state, Running):
        return {"running": {"startedAt": rfc3339(state.since)}}
    ended = {
        "exitCode": state.exit_code,
        "reason": state.reason or ("Completed" if state.exit_code == 0 else "Error"),
        "startedAt": rfc3339(state.since),
        "finishedAt": rfc3339(state.until),
    }
    return {"terminated": {**ended, **_filled(message=state.message)}}


def _filled(**texts: str) -> dict[str, str]:
    return {key: text for key, text in texts.items() if text}


def ended(records: Iterable[Record], *, code: int, reason: str, now: datetime) -> list[Record]:
    """Return *records* with everything that has not ended turned into an end with *code*."""
    return [
        record
        if isinstance(record.state, Ended)
        else replace(
            record,
            state=Ended(exit_code=code, since=now, until=now, reason=reason),
            is_ready=False,
            is_started=False,
        )
        for record in records
    ]
