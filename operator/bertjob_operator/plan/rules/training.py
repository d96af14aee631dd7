"""Training: one Indexed Job per attempt, until the model is published."""

from datetime import timedelta
from typing import Final

from bertjob_api import names
from bertjob_api.cluster import Object
from bertjob_api.conditions import SCHEDULED, STALLED, TRAINED, TRAINING
from bertjob_api.termination import USER_ERROR
from bertjob_operator.plan import attempts, clock, condition_list, jobs, nodes, quota, results, store, text
from bertjob_operator.plan.children import Job
from bertjob_operator.plan.effects import Decision, Fact
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules.rule import Stage, failed, waiting

LOOK: Final = timedelta(seconds=10)
"""How often training is looked at though nothing changed: silent nodes raise no event of ours."""


def is_trained(seen: Observed) -> bool:
    """Tell whether the trained model is known."""
    return results.model(seen) is not None


def trained(seen: Observed) -> tuple[Fact, ...]:
    """Return what a finished training establishes."""
    return (
        Fact(type=TRAINED, status=True, reason="TrainingCompleted", message=text.sentence(_where(seen))),
        Fact(type=SCHEDULED, status=True, reason="TrainingCompleted", message="every pod had its node"),
        Fact(type=TRAINING, status=False, reason="TrainingCompleted", message="training has ended"),
        Fact(type=STALLED, status=False, reason="TrainingCompleted", message="training has ended"),
    )


def _where(seen: Observed) -> str:
    """Return where the model is and how much of it this run trained; what was said stays when the pods are gone."""
    model, found = results.model(seen), results.training_result(seen)
    assert model is not None
    where = f"the model is at {model.uri}"
    if found is not None and found.trained_steps is not None:
        return "; ".join((where, f"{found.trained_steps} steps trained", *found.details))
    said = [item.message for item in seen.job.status.conditions if item.type == TRAINED]
    return said[0] if said and said[0].startswith(where) else where


def user_error(seen: Observed) -> Decision | None:
    """Fail on what trying again does not mend: exit code 42 in any pod."""
    pods = [pod for job in seen.training_jobs for pod in results.failed(job)]
    pod = results.with_code(pods, USER_ERROR)
    if pod is not None:
        failure = results.failure_of(pod, component=names.TRAIN)
        fact = _not_trained(failure.reason, failure.message)
        return failed("user_error", reason=failure.reason, message=failure.message, facts=(fact,), failure=failure)
    job = attempts.job(seen)
    if job is None or job.failed_reason != "PodFailurePolicy" or job.settling:
        return None
    message = job.failed_message or "the training Job failed"
    return failed("user_error", reason="PodFailurePolicy", message=message, facts=(_not_trained("Failed", message),))


def budget_spent(seen: Observed) -> Decision | None:
    """Fail when there were more failures in the sliding window than ``spec.backoff`` tolerates."""
    backoff = seen.job.spec.backoff
    count = attempts.num_recent(seen)
    if count <= backoff.limit:
        return None
    last = results.newest_failure(seen)
    cause = f"; the newest: {last.message}" if last is not None else ""
    message = f"{count} failures within {backoff.window}, {backoff.limit} are tolerated (spec.backoff){cause}"
    fact = _not_trained("BackoffLimitExceeded", message)
    return failed("budget_spent", reason="BackoffLimitExceeded", message=message, facts=(fact,))


def never_running(seen: Observed) -> Decision | None:
    """Fail when the pods did not come to run within ``preRunningDeadlineSeconds``."""
    left = pre_running_left(seen)
    if left is None or left > timedelta():
        return None
    limit = seen.job.spec.pre_running_deadline_seconds
    message = f"{_counts(seen)} after {limit} s (spec.preRunningDeadlineSeconds)"
    fact = _not_trained("PreRunningDeadlineExceeded", message)
    return failed("never_running", reason="PreRunningDeadlineExceeded", message=message, facts=(fact,))


def pre_running_left(seen: Observed) -> timedelta | None:
    """Return the time that the pods have left to come to run; None: no limit, or they ran before."""
    limit = seen.job.spec.pre_running_deadline_seconds
    job = attempts.job(seen)
    condition = condition_list.find(seen.job.status, TRAINING)
    if limit is None or job is None or job.created is None or (condition is not None and condition.status != "Unknown"):
        return None
    if _num_running(seen) >= _minimum(seen) or quota.is_waiting(job):
        return None
    began = max(job.created, condition_list.resumed(seen.job.status) or job.created, *quota.started((job,)))
    return began + timedelta(seconds=limit) - seen.now


def end_settling(seen: Observed) -> Decision | None:
    """Wait for the pods of a Job that has just ended, so that their results are not missed."""
    job = attempts.job(seen)
    if job is None or not job.over or not job.settling:
        return None
    if job.failed and results.failed(job):
        return None
    return waiting("end_settling", phase="Training", facts=_facts(seen), after=results.SETTLE)


def store_unaddressed(seen: Observed) -> Decision | None:
    """Bring up the rendezvous store and wait for its address."""
    if seen.store_service is not None and seen.store_service.cluster_ip is not None:
        return None
    apply, delete = store.kept(seen)
    return Decision(name="store_unaddressed", phase="Training", facts=_facts(seen), apply=apply, delete=delete)


def attempt_over(seen: Observed) -> Decision | None:
    """Begin the next attempt when the Job has ended without a model or was deleted."""
    job = attempts.job(seen)
    if not attempts.is_missing(seen) and (job is None or not job.over):
        return None
    number = attempts.current(seen) + 1
    return _started(seen, "attempt_over", number)


def node_failing(seen: Observed) -> Decision | None:
    """
    Leave a node on which pods fail again and again: a new attempt avoids it, once the pods of this one have ended.

    A Job's template cannot be changed while it runs. In a queue of Kueue's the attempt stays: only Kueue may stop it.
    """
    job = attempts.job(seen)
    if job is None or job.over or names.QUEUE_LABEL in job.labels or nodes.bad(seen) <= nodes.avoided(job):
        return None
    if job.suspended and all(pod.phase in ("Succeeded", "Failed") for pod in job.pods):
        return _started(seen, "node_failing", attempts.current(seen) + 1)
    stopped = jobs.suspended(seen.job, job, component=names.TRAIN, attempt=attempts.current(seen))
    return Decision(
        name="node_failing", phase="Training", facts=_facts(seen), apply=(stopped,), delete=store.pod_removed(seen)
    )


def training_running(seen: Observed) -> Decision:
    """Keep the current attempt as the spec wants it."""
    return _started(seen, "training_running", attempts.current(seen))


def _started(seen: Observed, name: str, attempt: int) -> Decision:
    apply, delete = store.kept(seen)
    assert seen.store_service is not None
    host = seen.store_service.cluster_ip
    assert host is not None
    return Decision(
        name=name,
        phase="Queued" if quota.is_waiting(attempts.job(seen)) else "Training",
        facts=_facts(seen),
        apply=(*apply, jobs.train(seen, attempt=attempt, store_host=host)),
        delete=delete,
        requeue_after=_look_again(seen),
    )


def _look_again(seen: Observed) -> timedelta:
    """Return when to look again: after ``LOOK``, or before, when a standstill is due to be told."""
    limit = seen.platform.stall_after
    return min([LOOK, *(limit - span for span in seen.standing.values() if span < limit)])


def idled(seen: Observed) -> tuple[Object, ...]:
    """Return the training Jobs that still run pods, suspended: their model is known, or nobody wants it any more."""
    return tuple(
        jobs.suspended(seen.job, job, component=names.TRAIN, attempt=attempt)
        for attempt, job in sorted(seen.training.items())
        if not job.over and not job.workloads  # else Kueue stops it (quota.stopped)
    )


def _num_running(seen: Observed) -> int:
    return len(attempts.pods(seen).present)


def _minimum(seen: Observed) -> int:
    training = seen.job.spec.training
    return training.elastic.min if training.elastic is not None else training.replicas


def _counts(seen: Observed) -> str:
    return f"{_num_running(seen)} of {seen.job.spec.training.replicas} nodes are training"


def _facts(seen: Observed) -> tuple[Fact, ...]:
    job = attempts.job(seen)
    if job is not None and quota.is_waiting(job):
        return _queued(seen, quota.message(job))
    return (_scheduled(seen, job), _training(seen), _stalled(seen), _not_trained("TrainingRunning", _counts(seen)))


def _queued(seen: Observed, message: str) -> tuple[Fact, ...]:
    """Return the facts of a Job that waits for quota: it neither trains nor is it stalled."""
    training = False if _has_run(seen) else None
    states = ((SCHEDULED, False), (TRAINING, training), (STALLED, False), (TRAINED, False))
    return tuple(Fact(type=kind, status=status, reason=quota.REASON, message=message) for kind, status in states)


def _scheduled(seen: Observed, job: Job | None) -> Fact:
    wanted = seen.job.spec.training.replicas
    placed = len(job.pods.placed) if job is not None else 0
    message = f"{placed} of {wanted} training pods have a node"
    if placed >= wanted:
        return Fact(type=SCHEDULED, status=True, reason="PodsScheduled", message=message)
    return Fact(type=SCHEDULED, status=False, reason="PodsPending", message=message)


def _training(seen: Observed) -> Fact:
    if _num_running(seen) >= _minimum(seen):
        return Fact(type=TRAINING, status=True, reason="PodsRunning", message=_counts(seen))
    # Unknown until it ran once: only then is "not running" a loss.
    status = False if _has_run(seen) else None
    return Fact(type=TRAINING, status=status, reason="PodsStarting", message=_counts(seen))


def _has_run(seen: Observed) -> bool:
    condition = condition_list.find(seen.job.status, TRAINING)
    return condition is not None and condition.status != "Unknown"


def _stalled(seen: Observed) -> Fact:
    if _num_running(seen) >= _minimum(seen) and (why := _standstill(seen)) is not None:
        return Fact(type=STALLED, status=True, reason="NoProgress", message=why)
    if _num_running(seen) >= _minimum(seen) or not _has_run(seen):
        return Fact(type=STALLED, status=False, reason="EnoughNodes", message=_counts(seen))
    message = f"{_counts(seen)}, at least {_minimum(seen)} are needed"
    return Fact(type=STALLED, status=True, reason="BelowMinNodes", message=message)


def _standstill(seen: Observed) -> str | None:
    """Return what stands still: rank 0 has told a step before the last one, and that for too long; None: nothing does."""
    pods = attempts.pods(seen).running
    ranks = {name: seen.progress[name].rank for name in pods.keys() & seen.progress.keys()}
    leading = min(
        (name for name in ranks if ranks[name] is not None), key=lambda name: (ranks[name], name), default=None
    )
    if leading is None or seen.standing.get(leading, timedelta()) < seen.platform.stall_after:
        return None
    report = seen.progress[leading]
    if report.step is None or (report.total is not None and report.step >= report.total):
        return None
    limit = clock.words(seen.platform.stall_after)
    return f"no step after {report.step} for more than {limit} (pod {leading} on node {pods[leading].node})"


def _not_trained(reason: str, message: str) -> Fact:
    return Fact(type=TRAINED, status=False, reason=text.reason(reason), message=text.sentence(message))


STAGE = Stage(
    is_done=is_trained,
    facts=trained,
    rules=(
        user_error,  # verdicts for good come first
        budget_spent,
        never_running,
        end_settling,  # nothing is decided from a partial view
        store_unaddressed,
        attempt_over,
        node_failing,
        training_running,
    ),
)
