"""What preflight and optimize have in common: one Job of one pod, which is refused or gives up."""

from dataclasses import dataclass

from bertjob_api.status import LastFailure
from bertjob_api.termination import USER_ERROR
from bertjob_operator.plan import results
from bertjob_operator.plan.children import Job, Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a step has failed for good."""

    reason: str
    message: str
    last: LastFailure | None = None
    """The pod's failure; None: no pod tells one."""


def refusal(job: Job | None, *, component: str) -> Failure | None:
    """Return what a pod said that trying again does not mend, or None."""
    pod = results.with_code(results.failed(job), USER_ERROR)
    return _told(pod, component) if pod is not None else None


def is_unexplained(job: Job) -> bool:
    """Tell whether *job* failed so lately that the pod which explains it may be seen later."""
    return not results.failed(job) and job.settling


def surrender(job: Job, *, component: str) -> Failure:
    """Return why *job*, whose every try failed, has failed."""
    pods = results.failed(job)
    if pods:
        return _told(pods[-1], component)
    return Failure(
        reason=job.failed_reason or f"{component.title()}Failed",
        message=job.failed_message or f"the {component} Job failed",
    )


def _told(pod: Pod, component: str) -> Failure:
    last = results.failure_of(pod, component=component)
    return Failure(reason=last.reason, message=last.message, last=last)
