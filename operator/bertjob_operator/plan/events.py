"""Events: what a change of the status tells people."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import EVENT, Object
from bertjob_api.conditions import FAILED, FINISHED, STALLED
from bertjob_api.digest import sha256_of, short
from bertjob_api.job import BertJob
from bertjob_api.status import JobStatus
from bertjob_operator.plan import clock, condition_list, text
from bertjob_operator.plan.effects import Event

CONTROLLER: Final = f"{names.GROUP}/operator"
MAX_NOTE: Final = 900
"""Characters; the API allows 1024 bytes."""

_BAD_WHEN_TRUE: Final = (FAILED, STALLED)


def between(old: JobStatus, new: JobStatus) -> tuple[Event, ...]:
    """Return an event for each condition that flipped to True or False, and for a new training attempt."""
    return (*_flips(old, new), *_attempts(old, new))


def _flips(old: JobStatus, new: JobStatus) -> Iterator[Event]:
    for condition in new.conditions:
        before = condition_list.find(old, condition.type)
        was = before.status if before is not None else "Unknown"
        if condition.status in (was, "Unknown") or (condition.status, was) == ("False", "Unknown"):
            continue
        if condition.type == FINISHED:  # Succeeded or Failed has said it
            continue
        bad = (condition.status == "True") == (condition.type in _BAD_WHEN_TRUE)
        yield Event(
            type="Warning" if bad else "Normal",
            reason=condition.reason,
            action=condition.type,
            note=text.sentence(f"{condition.type} is {condition.status}: {condition.message}", size=MAX_NOTE),
            key=f"{condition.type}/{condition.status}/{condition.last_transition_time}",
        )


def _attempts(old: JobStatus, new: JobStatus) -> Iterator[Event]:
    if new.attempt > old.attempt:
        cause = f" after: {new.last_failure.message}" if new.last_failure is not None else ""
        note = text.sentence(f"training attempt {new.attempt} begins{cause}", size=MAX_NOTE)
        yield Event(type="Warning", reason="TrainingRestarted", action="Train", note=note, key=f"attempt/{new.attempt}")


def manifest(event: Event, *, job: BertJob, now: datetime, instance: str) -> Object:
    """Return the events.k8s.io object; the same happening always has the same name."""
    name = f"{job.name}.{short(sha256_of([job.uid, event.reason, event.key]))}"
    regarding: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": job.name,
        "namespace": job.namespace,
        "uid": job.uid,
    }
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": name, "namespace": job.namespace},
        "type": event.type,
        "reason": event.reason,
        "action": event.action,
        "note": event.note,
        "regarding": regarding,
        "eventTime": clock.micro_stamp(now),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
    }
