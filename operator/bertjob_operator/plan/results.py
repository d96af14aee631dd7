"""
What the programs have brought back so far.

A result in the status is trusted when the pods that brought it are gone; until then the pods are the source.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from bertjob_api import names
from bertjob_api.progress import Progress
from bertjob_api.status import Artifact, Evaluation, LastFailure
from bertjob_api.termination import Result
from bertjob_operator.plan import clock, text
from bertjob_operator.plan.children import Job, Pod
from bertjob_operator.plan.observed import Observed

SETTLE: Final = timedelta(seconds=10)
"""When to look again at a Job that is settling."""


def ended(job: Job | None) -> tuple[Pod, ...]:
    """Return the pods of *job* that have ended."""
    return job.pods.ended if job is not None else ()


def result(job: Job | None) -> Result | None:
    """Return what a pod of *job* that ended well brought back, or None."""
    for pod in ended(job):
        if pod.ended is not None and pod.ended.exit_code == 0 and pod.ended.result is not None:
            return pod.ended.result
    return None


def training_result(seen: Observed) -> Result | None:
    """Return the result of training when its Job is complete, or when it lingers; None: there is none yet."""
    for job in reversed(seen.training_jobs):
        found = result(job)
        if found is not None and found.artifact is not None and (job.complete or job.lingering):
            return found
    return None


def model(seen: Observed) -> Artifact | None:
    """Return the trained model, or None."""
    artifacts = seen.job.status.artifacts
    if artifacts is not None and artifacts.model is not None:
        return artifacts.model
    found = training_result(seen)
    return found.artifact if found is not None else None


def served(seen: Observed) -> Artifact | None:
    """Return the artifact to serve, or None."""
    artifacts = seen.job.status.artifacts
    if artifacts is not None and artifacts.optimized is not None:
        return artifacts.optimized
    found = result(seen.optimize)
    return found.artifact if found is not None else None


def evaluation(seen: Observed) -> Evaluation | None:
    """Return the newest measurements, also those of a refused model, or None."""
    for pod in reversed(ended(seen.optimize)):
        if pod.ended is not None and pod.ended.result is not None and pod.ended.result.evaluation is not None:
            return pod.ended.result.evaluation
    return seen.job.status.evaluation


def optimize_progress(seen: Observed) -> Progress | None:
    """Return what the running optimize pod said last, or None."""
    pods = seen.optimize.pods if seen.optimize is not None else ()
    running = [pod.name for pod in pods if pod.phase == "Running" and pod.name in seen.progress]
    return seen.progress[running[-1]] if running else None


def failed(job: Job | None) -> tuple[Pod, ...]:
    """Return the failed pods of *job*, oldest first."""
    return tuple(sorted((pod for pod in ended(job) if pod.phase == "Failed"), key=_end))


def _end(pod: Pod) -> tuple[str, str]:
    assert pod.ended is not None
    return (clock.stamp(pod.ended.time) if pod.ended.time is not None else "", pod.name)


def with_code(pods: Iterable[Pod], code: int) -> Pod | None:
    """Return the first of *pods* that ended with *code*, or None."""
    return next((pod for pod in pods if pod.ended is not None and pod.ended.exit_code == code), None)


def failure_of(pod: Pod, *, component: str) -> LastFailure:
    """Return the failure of an ended *pod* for the status."""
    assert pod.ended is not None
    said = pod.ended.result.failure if pod.ended.result is not None else None
    message = said.message if said is not None else pod.ended.message or f"exit code {pod.ended.exit_code}"
    cause = "Disrupted" if pod.disrupted else pod.reason or pod.ended.reason
    return LastFailure(
        phase=component,
        pod=pod.name,
        node=pod.node,
        reason=text.reason(said.reason if said is not None else cause),
        exit_code=min(max(pod.ended.exit_code, 0), 255),
        message=text.sentence(message),
        time=clock.stamp(pod.ended.time) if pod.ended.time is not None else None,
    )


def newest_failure(seen: Observed) -> LastFailure | None:
    """Return the newest failure of any pod, or the one in the status when that is newer or its pod is gone."""
    jobs = [(names.PREFLIGHT, seen.preflight), (names.OPTIMIZE, seen.optimize)]
    jobs += [(names.TRAIN, job) for job in seen.training_jobs]
    found = [failure_of(pod, component=component) for component, job in jobs for pod in failed(job)]
    known = seen.job.status.last_failure
    return max([*([known] if known is not None else []), *found], key=_order, default=None)


def _order(failure: LastFailure) -> tuple[str, str]:
    return (failure.time or "", failure.pod or "")
