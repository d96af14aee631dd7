"""Preflight: storage, data and model are tried before any GPU is asked for."""

from datetime import timedelta
from typing import Final

from bertjob_api import names
from bertjob_api.conditions import ACCEPTED
from bertjob_operator.plan import condition_list, jobs, overlay, quota, results, text
from bertjob_operator.plan.effects import Decision, Fact
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules import step
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
    failure = step.Failure(reason="InvalidPodTemplate", message="; ".join(found))
    return _refused("overlay_reserved", failure) if found else None


def input_refused(seen: Observed) -> Decision | None:
    """Fail when preflight found a mistake that trying again does not mend."""
    failure = step.refusal(seen.preflight, component=names.PREFLIGHT)
    return _refused("input_refused", failure) if failure is not None else None


def preflight_gave_up(seen: Observed) -> Decision | None:
    """Fail when every try of preflight failed."""
    job = seen.preflight
    if job is None or not job.failed:
        return None
    if step.is_unexplained(job):
        return waiting(
            "preflight_gave_up",
            phase="Pending",
            facts=(_checking("preflight has failed; its pods are being looked at"),),
            after=results.SETTLE,
        )
    return _refused("preflight_gave_up", step.surrender(job, component=names.PREFLIGHT))


def preflight_running(seen: Observed) -> Decision:
    """Try storage, data and model."""
    failures = results.failed(seen.preflight)
    last = results.failure_of(failures[-1], component=names.PREFLIGHT).message if failures else None
    message = f"trying again after: {last}" if last else "storage, data and model are being tried"
    if seen.preflight is not None and quota.is_waiting(seen.preflight):
        message = quota.message(seen.preflight)
    return Decision(
        name="preflight_running",
        phase="Pending",
        facts=(_checking(message),),
        apply=(jobs.preflight(seen),),
        requeue_after=LOOK,
    )


def _checking(message: str) -> Fact:
    return Fact(type=ACCEPTED, status=None, reason="PreflightRunning", message=text.sentence(message))


def _refused(name: str, why: step.Failure) -> Decision:
    fact = Fact(type=ACCEPTED, status=False, reason=text.reason(why.reason), message=text.sentence(why.message))
    return failed(name, reason=why.reason, message=why.message, facts=(fact,), failure=why.last)


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
