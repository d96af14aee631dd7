"""The next status of a job, and the patch that leads there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bertjob_api import names
from bertjob_api.conditions import FAILED, SUCCEEDED
from bertjob_api.parse import dump
from bertjob_api.progress import Progress
from bertjob_api.status import Artifacts, CheckpointStatus, HistoryEntry, JobStatus, TrainingStatus
from bertjob_operator.plan import attempts, clock, condition_list, results
from bertjob_operator.plan.effects import Decision, Fact
from bertjob_operator.plan.observed import Observed


def next_status(seen: Observed, decision: Decision, facts: tuple[Fact, ...]) -> JobStatus:
    """Return the status after *decision*; *facts* are those of the stages that are done."""
    old, job = seen.job.status, seen.job
    now = clock.stamp(seen.now)
    ends = any(fact.type in (SUCCEEDED, FAILED) and fact.status for fact in decision.facts)
    wanted = job.spec.training.replicas
    running = 0 if ends else len(attempts.pods(seen).running)
    training = _training(seen)
    artifacts = Artifacts(model=results.model(seen), optimized=results.served(seen))
    has_artifacts = artifacts.model is not None or artifacts.optimized is not None
    in_training = decision.phase == "Training"
    return JobStatus(
        observed_generation=job.generation,
        phase=decision.phase,
        conditions=condition_list.merged(old, (*facts, *decision.facts), generation=job.generation, now=now),
        replicas=running,
        nodes=f"{running}/{wanted}" if in_training else None,
        progress=_progress(seen, decision, training),
        selector=_selector(seen),
        start_time=old.start_time or now,
        completion_time=old.completion_time or (now if ends else None),
        attempt=attempts.current(seen),
        training=training,
        artifacts=artifacts if has_artifacts else old.artifacts,
        evaluation=results.evaluation(seen),
        rollout=decision.rollout or old.rollout,
        history=_history(seen, decision),
        last_failure=decision.failure or results.newest_failure(seen),
    )


def after_end(seen: Observed) -> JobStatus:
    """Return the status of a finished job: only the generation that was looked at may still move."""
    return replace(seen.job.status, observed_generation=seen.job.generation)


def patch(stored: Mapping[str, Any], new: JobStatus) -> dict[str, Any]:
    """Return the merge patch from *stored* to *new*: null removes, lists are replaced; {} when they are equal."""
    return _difference(stored, dump(new))


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if nested := _difference(before, value):
                changes[key] = nested
        elif value != before or key not in old:
            changes[key] = value
    return changes


def _history(seen: Observed, decision: Decision) -> tuple[HistoryEntry, ...]:
    if decision.history is not None:
        return decision.history
    return seen.history.entries if seen.history is not None else seen.job.status.history


def _selector(seen: Observed) -> str:
    return f"{names.JOB_LABEL}={seen.job.name},{names.COMPONENT_LABEL}={names.TRAIN}"


def _training(seen: Observed) -> TrainingStatus | None:
    """
    Return the progress of training; None before it began: that it is set says that a Job of it was seen.

    A Job that was only asked for is not told of: a cache that is behind would then look as if somebody had deleted it.
    """
    old = seen.job.status.training
    if not attempts.has_started(seen):
        return None
    base = old or TrainingStatus()
    running = attempts.pods(seen).running
    reports = [seen.progress[name] for name in sorted(running.keys() & seen.progress.keys())]
    reports = [report for report in reports if report.rank is not None]
    newest = _with_report(base, min(reports, key=_rank)) if reports else base
    recovered = [report.last_recovery for report in reports if report.last_recovery is not None]
    restarts = attempts.num_failures(seen) + sum(report.restarts for report in seen.progress.values())
    return replace(
        _with_result(newest, seen),
        restarts=max(base.restarts, restarts),
        disruptions=max(base.disruptions, attempts.num_disruptions(seen)),
        last_recovery=recovered[0] if recovered else base.last_recovery,
    )


def _rank(report: Progress) -> int:
    assert report.rank is not None
    return report.rank


def _with_report(base: TrainingStatus, report: Progress) -> TrainingStatus:
    checkpoint = report.last_checkpoint
    return replace(
        base,
        step=_known(report.step, base.step),
        total=_known(report.total, base.total),
        epoch=_known(report.epoch, base.epoch),
        loss=_known(report.loss, base.loss),
        samples_per_second=_known(report.samples_per_second, base.samples_per_second),
        eta_seconds=report.eta_seconds,
        resumed_from_step=_known(report.resumed_from_step, base.resumed_from_step),
        last_checkpoint=base.last_checkpoint
        if checkpoint is None
        else CheckpointStatus(step=checkpoint.step, uri=checkpoint.uri, time=clock.from_unix(checkpoint.time)),
    )


def _known(new: Any, old: Any) -> Any:
    return old if new is None else new


def _with_result(base: TrainingStatus, seen: Observed) -> TrainingStatus:
    found = results.training_result(seen)
    if found is None or found.steps is None:
        return base
    return replace(base, step=found.steps, total=found.steps, eta_seconds=None)


def _progress(seen: Observed, decision: Decision, training: TrainingStatus | None) -> str | None:
    """Return how far optimize is while it runs, else how far training is; what was known stays while nobody says more."""
    old = seen.job.status
    if decision.phase == "Optimizing":
        return _percent(results.optimize_progress(seen)) or (old.progress if old.phase == "Optimizing" else "0 %")
    return _percent(training) or old.progress


def _percent(progress: TrainingStatus | Progress | None) -> str | None:
    if progress is None or progress.step is None or not progress.total:
        return None
    return f"{min(100, 100 * progress.step // progress.total)} %"
