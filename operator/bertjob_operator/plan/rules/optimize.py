"""Optimize: the artifact that is served, measured and judged."""

from datetime import timedelta
from typing import Final

from bertjob_api import names
from bertjob_api.cluster import JOB
from bertjob_api.conditions import GATE_PASSED, OPTIMIZED
from bertjob_operator.plan import jobs, metadata, quota, results, text
from bertjob_operator.plan.effects import Decision, Delete, Fact
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules import step
from bertjob_operator.plan.rules.rule import Stage, failed, waiting

LOOK: Final = timedelta(seconds=10)
"""How often a running step is looked at though nothing changed."""


def is_wanted(seen: Observed) -> bool:
    """Tell whether an artifact is made: a job without optimize and serving ends after training."""
    return seen.job.spec.optimize is not None or seen.job.spec.serving is not None


def is_done(seen: Observed) -> bool:
    """Tell whether the artifact is known, or none is wanted."""
    return not is_wanted(seen) or results.served(seen) is not None


def done(seen: Observed) -> tuple[Fact, ...]:
    """Return what a finished optimize establishes."""
    artifact = results.served(seen)
    if artifact is None:
        message = "neither spec.optimize nor spec.serving is set"
        return (_optimized("NotRequested", message, status=None), _gate("NotRequested", message, status=None))
    where = f"the artifact is at {artifact.uri}"
    if seen.job.spec.optimize is None:
        message = "spec.optimize is not set; the FP32 model is served"
        return (_optimized("Converted", where, status=True), _gate("NotRequested", message, status=None))
    return (_optimized("OptimizeCompleted", where, status=True), _gate("GatePassed", _measured(seen), status=True))


def refused(seen: Observed) -> Decision | None:
    """Fail when the gate refused every candidate, or the input is wrong: trying again gives the same."""
    failure = step.refusal(seen.optimize, component=names.OPTIMIZE)
    return _failed("refused", failure) if failure is not None else None


def gave_up(seen: Observed) -> Decision | None:
    """Fail when every try of the optimize step failed."""
    job = seen.optimize
    if job is None or not job.failed:
        return None
    if step.is_unexplained(job):
        return waiting("gave_up", phase="Optimizing", facts=(_running(seen),), after=results.SETTLE)
    return _failed("gave_up", step.surrender(job, component=names.OPTIMIZE))


def result_lost(seen: Observed) -> Decision | None:
    """Run the step again when it ended well but its result is gone; it finds its work done."""
    job = seen.optimize
    if job is None or not job.complete:
        return None
    if job.settling:
        return waiting("result_lost", phase="Optimizing", facts=(_running(seen),), after=results.SETTLE)
    removal = Delete(ref=metadata.ref(seen.job, JOB, job.name), uid=job.uid)
    return waiting("result_lost", phase="Optimizing", facts=(_running(seen),), delete=(removal,))


def optimizing(seen: Observed) -> Decision:
    """Build, measure, judge and publish the artifact."""
    model = results.model(seen)
    assert model is not None, "optimize comes after training"
    live = seen.inference.storage_uri if seen.inference is not None else None
    return Decision(
        name="optimizing",
        phase="Optimizing",
        facts=(_running(seen),),
        apply=(jobs.optimize(seen, model_uri=model.uri, model_sha256=model.sha256, live_uri=live),),
        requeue_after=LOOK,
    )


def _running(seen: Observed) -> Fact:
    if seen.optimize is not None and quota.is_waiting(seen.optimize):
        return _optimized(quota.REASON, quota.message(seen.optimize), status=None)
    found = results.optimize_progress(seen)
    activity = found.activity if found is not None else None
    return _optimized("OptimizeRunning", activity or "candidates are being built and measured", status=None)


def _failed(name: str, why: step.Failure) -> Decision:
    facts: tuple[Fact, ...] = (_optimized(why.reason, why.message, status=False),)
    if why.reason.startswith("Gate"):
        facts = (*facts, _gate(why.reason, why.message, status=False))
    return failed(name, reason=why.reason, message=why.message, facts=facts, failure=why.last)


def _measured(seen: Observed) -> str:
    """Return the figures that the gate saw, as far as they are known."""
    evaluation = results.evaluation(seen)
    if evaluation is None or evaluation.fp32 is None or evaluation.int8 is None:
        return "the gate passed"
    fp32, int8 = evaluation.fp32, evaluation.int8
    parts = [f"{int8.metric} {_number(int8.value)} (FP32 {_number(fp32.value)})"]
    if int8.latency_p50_ms is not None and fp32.latency_p50_ms is not None:
        parts.append(f"{int8.latency_p50_ms:.2f} ms (FP32 {fp32.latency_p50_ms:.2f} ms)")
    return f"{evaluation.method or 'int8'}: {', '.join(parts)}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _optimized(reason: str, message: str, *, status: bool | None) -> Fact:
    return Fact(type=OPTIMIZED, status=status, reason=text.reason(reason), message=text.sentence(message))


def _gate(reason: str, message: str, *, status: bool | None) -> Fact:
    return Fact(type=GATE_PASSED, status=status, reason=text.reason(reason), message=text.sentence(message))


STAGE = Stage(
    is_done=is_done,
    facts=done,
    rules=(
        refused,  # exit code 42: nothing to try again
        gave_up,
        result_lost,
        optimizing,
    ),
)
