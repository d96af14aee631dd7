"""
What the Job controller does next: Indexed and plain Jobs of one pod template. Pure.

Source: Kubernetes documentation, "Jobs": completion modes, pod failure policy, pod replacement policy, suspension.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bertjob_api.cluster import Object
from bertjob_local.embedded import pods as pod
from bertjob_local.embedded.failure_policy import action_for
from bertjob_local.embedded.objects import timestamp
from bertjob_local.embedded.settings import Settings

INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed pods of one Job since its last success: what delays the next pod."""

    count: int = 0
    newest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do with one Job now."""

    status: Object
    failures: Failures
    create: tuple[int | None, ...] = ()
    """Completion indexes of new pods; None for a plain Job."""
    delete: tuple[Object, ...] = ()
    release: tuple[Object, ...] = ()
    """Pods that are counted: their finalizer goes, before any deletion."""
    after: timedelta | None = None
    """Look again; None: when something changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    failed: int
    completed: frozenset[int]
    plain_succeeded: int
    failures: Failures
    fatal: str | None = None
    released: list[Object] = field(default_factory=list)


def next_step(job: Object, pods: Iterable[Object], *, failures: Failures, now: datetime, settings: Settings) -> Step:
    """Return what to do with *job*, whose pods are all of *pods*."""
    pods = tuple(pods)
    if pod.has_condition(job, "Complete") or pod.has_condition(job, "Failed"):
        tracked = tuple(each for each in pods if _is_tracked(each))
        active = tuple(each for each in pods if pod.is_active(each))
        return Step(status=job["status"], failures=failures, release=tracked, delete=active)
    counted = _count(job, pods, failures=failures, now=now)
    status = _figures(job, pods, counted)
    reason, message = _failure(job, counted, now)
    if reason is not None:
        return _failing(job, pods, counted, replace_status=(status, reason, message), now=now)
    if _succeeded(job, counted) >= _completions(job):
        return _complete(job, pods, counted, status=status, now=now)
    if job["spec"].get("suspend"):
        return _suspended(job, pods, counted, status=status, now=now)
    return _running(job, pods, counted, status=_started(job, status, now), now=now, settings=settings)


def index_of(each: Object) -> int | None:
    """Return a pod's completion index, or None in a plain Job."""
    text = (each["metadata"].get("annotations") or {}).get(INDEX)
    return None if text is None else int(text)


def indexes(text: str) -> frozenset[int]:
    """Return the numbers in a list of ranges such as ``0,2-4``."""
    bounds = (part.partition("-") for part in text.split(",") if part)
    return frozenset(n for low, _, high in bounds for n in range(int(low), int(high or low) + 1))


def ranges(numbers: Iterable[int]) -> str:
    """Return *numbers* as a list of ranges, the reverse of ``indexes``."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(_span(low, high) for low, high in spans)


def _span(low: int, high: int) -> str:
    """Return one range; two neighbours are written as two numbers, as the real controller does."""
    if low == high:
        return str(low)
    return f"{low},{high}" if high == low + 1 else f"{low}-{high}"


def _is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def _completions(job: Object) -> int:
    return int(job["spec"].get("completions", job["spec"].get("parallelism", 1)))


def _is_tracked(each: Object) -> bool:
    return pod.TRACKING in (each["metadata"].get("finalizers") or ())


def _count(job: Object, pods: Iterable[Object], *, failures: Failures, now: datetime) -> _Counted:
    status = job.get("status", {})
    counted = _Counted(
        failed=status.get("failed", 0),
        completed=indexes(status.get("completedIndexes", "")),
        plain_succeeded=0 if _is_indexed(job) else status.get("succeeded", 0),
        failures=failures,
    )
    for each in pods:
        if not _is_tracked(each):
            continue
        if pod.is_ended(each):
            counted = _with_ended(job, counted, each, now)
        elif pod.is_terminating(each) and "nodeName" not in each["spec"]:
            counted.released.append(each)  # no kubelet will ever end it
    kept = frozenset(n for n in counted.completed if n < _completions(job))
    return replace(counted, completed=kept if _is_indexed(job) else counted.completed)


def _with_ended(job: Object, counted: _Counted, each: Object, now: datetime) -> _Counted:
    counted.released.append(each)
    index = index_of(each)
    if each["status"]["phase"] == "Succeeded":
        if index is None:
            return replace(counted, plain_succeeded=counted.plain_succeeded + 1, failures=Failures())
        return replace(counted, completed=counted.completed | {index}, failures=Failures())
    failures = Failures(counted.failures.count + 1, now)
    action, message = action_for(job["spec"].get("podFailurePolicy"), each)
    if action == "Ignore":
        return replace(counted, failures=failures)
    fatal = counted.fatal or (message if action == "FailJob" else None)
    return replace(counted, failed=counted.failed + 1, failures=failures, fatal=fatal)


def _succeeded(job: Object, counted: _Counted) -> int:
    return len(counted.completed) if _is_indexed(job) else counted.plain_succeeded


def _figures(job: Object, pods: Iterable[Object], counted: _Counted) -> Object:
    active = [each for each in pods if pod.is_active(each)]
    status: Object = {
        **job.get("status", {}),
        "active": len(active),
        "ready": sum(pod.has_condition(each, "Ready") for each in active),
        "terminating": sum(pod.is_terminating(each) for each in pods),
        "succeeded": _succeeded(job, counted),
        "failed": counted.failed,
    }
    if _is_indexed(job):
        status["completedIndexes"] = ranges(counted.completed)
    return {key: value for key, value in status.items() if value not in (0, "") or key in ("ready", "terminating")}


def _failure(job: Object, counted: _Counted, now: datetime) -> tuple[str | None, str]:
    """Return why the Job has failed, or (None, "")."""
    target = pod.condition(job, "FailureTarget")
    if target:
        return target["reason"], target["message"]
    if counted.fatal is not None:
        return "PodFailurePolicy", counted.fatal
    if counted.failed > job["spec"].get("backoffLimit", 6):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left = _time_left(job, now)
    if left is not None and left <= timedelta():
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    return None, ""


def _time_left(job: Object, now: datetime) -> timedelta | None:
    seconds, start = job["spec"].get("activeDeadlineSeconds"), job.get("status", {}).get("startTime")
    if seconds is None or start is None or job["spec"].get("suspend"):
        return None
    return datetime.fromisoformat(start) + timedelta(seconds=seconds) - now


def _failing(
    job: Object, pods: tuple[Object, ...], counted: _Counted, *, replace_status: tuple[Object, str, str], now: datetime
) -> Step:
    status, reason, message = replace_status
    fields = {"reason": reason, "message": message, "now": timestamp(now)}
    status["conditions"] = pod.with_condition(job, "FailureTarget", "True", **fields)
    active = tuple(each for each in pods if pod.is_active(each))
    if not active and not any(pod.is_terminating(each) for each in pods):
        status["conditions"] = pod.with_condition({"status": status}, "Failed", "True", **fields)
    return Step(status=status, failures=counted.failures, release=tuple(counted.released), delete=active)


def _complete(job: Object, pods: tuple[Object, ...], counted: _Counted, *, status: Object, now: datetime) -> Step:
    fields = {
        "reason": "CompletionsReached",
        "message": "Reached expected number of succeeded pods",
        "now": timestamp(now),
    }
    status["conditions"] = pod.with_condition(job, "SuccessCriteriaMet", "True", **fields)
    active = tuple(each for each in pods if pod.is_active(each))
    if not active and not any(pod.is_terminating(each) for each in pods):
        status["conditions"] = pod.with_condition({"status": status}, "Complete", "True", **fields)
        status["completionTime"] = timestamp(now)
    return Step(status=status, failures=counted.failures, release=tuple(counted.released), delete=active)


def _suspended(job: Object, pods: tuple[Object, ...], counted: _Counted, *, status: Object, now: datetime) -> Step:
    fields = {"reason": "JobSuspended", "message": "Job suspended", "now": timestamp(now)}
    status["conditions"] = pod.with_condition(job, "Suspended", "True", **fields)
    status.pop("startTime", None)
    active = tuple(each for each in pods if pod.is_active(each))
    return Step(status=status, failures=counted.failures, release=(*counted.released, *active), delete=active)


def _started(job: Object, status: Object, now: datetime) -> Object:
    result = {"startTime": timestamp(now), **status}
    if pod.has_condition(job, "Suspended"):
        fields = {"reason": "JobResumed", "message": "Job resumed", "now": timestamp(now)}
        result["conditions"] = pod.with_condition(job, "Suspended", "False", **fields)
    return result


def _running(
    job: Object, pods: tuple[Object, ...], counted: _Counted, *, status: Object, now: datetime, settings: Settings
) -> Step:
    keep, surplus = _sorted_out(job, pods, counted)
    missing = _missing(job, keep, pods, counted)
    wait = _backoff(counted.failures, now, settings) if missing else timedelta()
    left = _time_left({**job, "status": status}, now)
    times = [each for each in (wait if wait > timedelta() else None, left) if each is not None]
    return Step(
        status=status,
        failures=counted.failures,
        create=() if wait > timedelta() else missing,
        release=(*counted.released, *surplus),
        delete=surplus,
        after=min(times, default=None),
    )


def _sorted_out(
    job: Object, pods: tuple[Object, ...], counted: _Counted
) -> tuple[tuple[Object, ...], tuple[Object, ...]]:
    """Return the active pods to keep, and those beyond what is wanted: highest indexes and doubles first."""
    wanted = max(0, min(job["spec"].get("parallelism", 1), _completions(job) - _succeeded(job, counted)))
    active = sorted((each for each in pods if pod.is_active(each)), key=lambda each: index_of(each) or 0)
    seen: set[int] = set()
    keep: list[Object] = []
    surplus: list[Object] = []
    for each in active:
        index = index_of(each)
        is_double = index is not None and (index in seen or index >= _completions(job) or index in counted.completed)
        seen |= {index} if index is not None else set()
        (surplus if is_double or len(keep) >= wanted else keep).append(each)
    return tuple(keep), tuple(surplus)


def _missing(
    job: Object, keep: tuple[Object, ...], pods: tuple[Object, ...], counted: _Counted
) -> tuple[int | None, ...]:
    """Return the indexes of the pods to create."""
    spec: Mapping[str, Any] = job["spec"]
    waits = spec.get("podReplacementPolicy") == "Failed" or "podFailurePolicy" in spec
    terminating = [each for each in pods if pod.is_terminating(each)] if waits else []
    wanted = min(int(spec.get("parallelism", 1)), _completions(job) - _succeeded(job, counted))
    room = max(0, wanted - len(keep) - len(terminating))
    if not _is_indexed(job):
        return (None,) * room
    taken = {index_of(each) for each in (*keep, *terminating)} | counted.completed
    return tuple(n for n in range(_completions(job)) if n not in taken)[:room]


def _backoff(failures: Failures, now: datetime, settings: Settings) -> timedelta:
    """Return how long the next pod still waits."""
    if failures.newest is None:
        return timedelta()
    doublings = int(min(failures.count - 1, 30))
    delay: timedelta = min(settings.job_backoff * (1 << doublings), settings.max_job_backoff)
    return failures.newest + delay - now
