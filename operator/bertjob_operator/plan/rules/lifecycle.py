"""What comes before every stage: the end, deletion, suspension and deadlines."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, JOB, Object
from bertjob_api.conditions import ACCEPTED, FAILED, SCHEDULED, STALLED, SUCCEEDED, SUSPENDED, TRAINING
from bertjob_operator.plan import attempts, clock, condition_list, jobs, metadata, quota, results, store
from bertjob_operator.plan.children import Job
from bertjob_operator.plan.effects import Decision, Delete, Fact
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules.rule import Rule, failed, waiting
from bertjob_operator.plan.rules.training import idled

LOOK: Final = timedelta(seconds=2)


def is_finished(seen: Observed) -> bool:
    """Tell whether the status carries a verdict for good."""
    return condition_list.holds(seen.job.status, SUCCEEDED) or condition_list.holds(seen.job.status, FAILED)


def being_deleted(seen: Observed) -> Decision | None:
    """Leave a job alone that is going away: its children go by their owner."""
    return Decision(name="being_deleted", phase=seen.job.status.phase or "Pending") if seen.job.deleted else None


def finished(seen: Observed) -> Decision | None:
    """Clean up after a verdict for good; nothing is ever started again."""
    if not is_finished(seen):
        return None
    policy = seen.job.spec.clean_pod_policy
    expired = ttl_left(seen)
    if expired is not None and expired <= timedelta():
        own = Delete(ref=metadata.ref(seen.job, BERT_JOB, seen.job.name), uid=seen.job.uid)
        return Decision(name="finished", phase=seen.job.status.phase or "", delete=(own,))
    everything = tuple(
        Delete(ref=metadata.ref(seen.job, JOB, job.name), uid=job.uid) for job, _ in _jobs(seen) if policy == "All"
    )
    return Decision(
        name="finished",
        phase=seen.job.status.phase or "",
        apply=stopped(seen) if policy == "Running" else (),
        replace=quota.stopped(seen, (job for job, _ in _jobs(seen))) if policy == "Running" else (),
        delete=(*store.removed(seen), *everything),
        requeue_after=expired,
    )


def ttl_left(seen: Observed) -> timedelta | None:
    """Return the time until a finished job deletes itself; None: it stays."""
    ended, ttl = clock.instant(seen.job.status.completion_time), seen.job.spec.ttl_seconds_after_finished
    return ended + timedelta(seconds=ttl) - seen.now if ended is not None and ttl is not None else None


def strangers_standing(seen: Observed) -> Decision | None:
    """Wait while children of an earlier job of this name are still being removed."""
    if not seen.strangers:
        return None
    found = ", ".join(seen.strangers)
    fact = Fact(
        type=ACCEPTED,
        status=None,
        reason="NamesTaken",
        message=f"{found} belong to another owner; they must go before this job can begin",
    )
    return waiting("strangers_standing", phase="Pending", facts=(fact,), after=LOOK)


def deadline_exceeded(seen: Observed) -> Decision | None:
    """Fail a job that has been active for longer than ``activeDeadlineSeconds``."""
    left = active_left(seen)
    if left is None or left > timedelta():
        return None
    limit = seen.job.spec.active_deadline_seconds
    message = f"the job was active for more than {limit} s (spec.activeDeadlineSeconds)"
    return failed("deadline_exceeded", reason="DeadlineExceeded", message=message)


def active_left(seen: Observed) -> timedelta | None:
    """Return the active time that is left, counted anew after each suspension as in batch/v1; None: no limit."""
    limit, began = seen.job.spec.active_deadline_seconds, clock.instant(seen.job.status.start_time)
    found = [job for job, _ in _jobs(seen)]
    if limit is None or began is None or attempts.is_paused(seen) or any(map(quota.is_waiting, found)):
        return None
    resumed = condition_list.resumed(seen.job.status)
    return max(began, resumed or began, *quota.started(found)) + timedelta(seconds=limit) - seen.now


def suspended(seen: Observed) -> Decision | None:
    """Give the nodes back; Jobs stay, so that resuming goes on with the same attempt."""
    if not attempts.is_paused(seen):
        return None
    reason = "SuspendRequested" if seen.job.spec.suspend else "ScaledToZero"
    message = "spec.suspend is set" if seen.job.spec.suspend else "spec.training.replicas is 0"
    facts = [Fact(type=SUSPENDED, status=True, reason=reason, message=message)]
    if results.model(seen) is None:
        stopped_facts = ((SCHEDULED, False), (TRAINING, None), (STALLED, False))
        facts += [Fact(type=kind, status=status, reason="Suspended", message=message) for kind, status in stopped_facts]
    # A store that is started afresh holds no half-finished rendezvous of pods that are gone.
    return Decision(
        name="suspended",
        phase="Suspended",
        facts=tuple(facts),
        apply=stopped(seen),
        replace=quota.stopped(seen, (job for job, _ in _jobs(seen))),
        delete=store.pod_removed(seen),
    )


def stopped(seen: Observed) -> tuple[Object, ...]:
    """Return every unfinished Job, suspended; those that Kueue looks after are stopped by ``quota.stopped``."""
    others = ((seen.preflight, names.PREFLIGHT), (seen.optimize, names.OPTIMIZE))
    rest = tuple(
        jobs.suspended(seen.job, job, component=component)
        for job, component in others
        if job is not None and not job.over and not job.workloads
    )
    return (*idled(seen), *rest)


def _jobs(seen: Observed) -> Iterator[tuple[Job, str]]:
    for job, component in ((seen.preflight, names.PREFLIGHT), (seen.optimize, names.OPTIMIZE)):
        if job is not None:
            yield job, component
    for job in seen.training_jobs:
        yield job, names.TRAIN


RULES: Final[tuple[Rule, ...]] = (
    being_deleted,
    finished,  # a verdict is final
    strangers_standing,  # nothing is planned on children that are not ours
    deadline_exceeded,
    suspended,
)
