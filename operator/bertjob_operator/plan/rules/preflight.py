"""Preflight: storage, data and model are tried before any GPU is asked for."""

from datetime import timedelta
from typing import Final

from bertjob_api import names
from bertjob_api.conditions import ACCEPTED
from bertjob_api.status import LastFailure
from bertjob_api.termination import USER_ERROR
from bertjob_operator.plan import condition_list, jobs, overlay, results, text
from bertjob_operator.plan.effects import Decision, Fact
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules.rule import Stage, failed, waiting

LOOK: Final = timedelta(seconds=10)
"""How often a running step is looked at though nothing changed: silent nodes raise no event of ours."""


def is_passed(seen: Observed) -> bool:
    """Tell whether the job was accepted, now or before."""
    return condition_list.holds(seen.job.status, ACCEPTED) or (seen.preflight is not None and seen.preflight.complete)


def passed(seen: Observed) -> tuple[Fact, ...]:  # noqa: ARG001  # a stage's facts may depend on what was seen
    """Return what a passed preflight establishes."""
    return (
        Fact(
            type=ACCEPTED,
            status=True,
            reason="PreflightPassed",
            message="the spec is valid; storage, data and model are reachable",
        ),
    )


def overlay_reserved(seen: Observed) -> Decision | None:
    """Refuse an overlay that sets what the operator sets."""
    template = jobs.train_template(seen, attempt=0, store_host="")
    found = overlay.problems(seen.job.spec.training.pod_template, template)
    return _refused("overlay_reserved", "InvalidPodTemplate", "; ".join(found)) if found else None


def input_refused(seen: Observed) -> Decision | None:
    """Fail when preflight found a mistake that trying again does not mend."""
    pod = results.with_code(results.failed(seen.preflight), USER_ERROR)
    if pod is None:
        return None
    failure = results.failure_of(pod, component=names.PREFLIGHT)
    return _refused("input_refused", failure.reason, failure.message, failure)


def preflight_gave_up(seen: Observed) -> Decision | None:
    """Fail when every try of preflight failed."""
    job = seen.preflight
    if job is None or not job.failed:
        return None
    pods = results.failed(job)
    if not pods and results.is_settling(job, seen):
        return waiting(
            "preflight_gave_up",
            phase="Pending",
            facts=(_checking("preflight has failed; its pods are being looked at"),),
            after=results.SETTLE,
        )
    failure = results.failure_of(pods[-1], component=names.PREFLIGHT) if pods else None
    reason = failure.reason if failure is not None else job.failed_reason or "PreflightFailed"
    message = failure.message if failure is not None else job.failed_message or "the preflight Job failed"
    return _refused("preflight_gave_up", reason, message, failure)


def preflight_running(seen: Observed) -> Decision:
    """Try storage, data and model."""
    failures = results.failed(seen.preflight)
    last = results.failure_of(failures[-1], component=names.PREFLIGHT).message if failures else None
    message = f"trying again after: {last}" if last else "storage, data and model are being tried"
    return Decision(
        name="preflight_running",
        phase="Pending",
        facts=(_checking(message),),
        apply=(jobs.preflight(seen),),
        requeue_after=LOOK,
    )


def _checking(message: str) -> Fact:
    return Fact(type=ACCEPTED, status=None, reason="PreflightRunning", message=text.sentence(message))


def _refused(name: str, reason: str, message: str, failure: LastFailure | None = None) -> Decision:
    fact = Fact(type=ACCEPTED, status=False, reason=text.reason(reason), message=text.sentence(message))
    return failed(name, reason=reason, message=message, facts=(fact,), failure=failure)


STAGE = Stage(
    is_done=is_passed,
    facts=passed,
    rules=(
        overlay_reserved,  # a mistake of the user, seen without running anything
        input_refused,
        preflight_gave_up,
        preflight_running,
    ),
)
