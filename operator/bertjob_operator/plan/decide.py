"""``plan``: from everything that was seen to everything that is to be done."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from bertjob_api.cluster import InvalidError, Ref
from bertjob_api.conditions import ACCEPTED, FAILED, SUCCEEDED, SUSPENDED
from bertjob_api.parse import parse
from bertjob_api.status import JobStatus
from bertjob_operator.plan import base, clock, condition_list, counts, events, nodes, quota, status, store, text
from bertjob_operator.plan.effects import Decision, Fact, Plan
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules import lifecycle, optimize, preflight, rollout, training
from bertjob_operator.plan.rules.rule import Stage, failed, first

STAGES: Final[tuple[Stage, ...]] = (preflight.STAGE, training.STAGE, optimize.STAGE, rollout.STAGE)


def plan(seen: Observed) -> Plan:
    """Return what is to be done about one job now; the same *seen* always gives the same plan."""
    facts = _established(seen)
    early = first(lifecycle.RULES, seen)
    decision = early if early is not None else _resumed(seen, _staged(seen))
    if decision.name in ("finished", "being_deleted"):
        return _planned(seen, decision, status.after_end(seen))
    running = Fact(type=SUSPENDED, status=False, reason="NotSuspended", message="spec.suspend is not set")
    return _planned(seen, decision, status.next_status(seen, decision, (running, *facts)))


def _established(seen: Observed) -> tuple[Fact, ...]:
    """Return what the stages that are done have established."""
    facts: list[Fact] = []
    for stage in STAGES:
        if not stage.is_done(seen):
            break
        facts += stage.facts(seen)
    return tuple(facts)


def _staged(seen: Observed) -> Decision:
    """Return the verdict of the first stage that is not done."""
    for stage in STAGES:
        if not stage.is_done(seen):
            decision = first(stage.rules, seen)
            assert decision is not None, "the last rule of a stage always has a verdict"
            return _with_surroundings(seen, decision)
    return _with_surroundings(seen, succeeded(seen))


def _resumed(seen: Observed, decision: Decision) -> Decision:
    """Add what brings Jobs back into their queue when a suspension has ended."""
    if decision.phase in ("Failed", "Succeeded"):
        return decision
    return replace(decision, replace=(*decision.replace, *quota.resumed(seen)))


def succeeded(seen: Observed) -> Decision:
    """Return the verdict that everything that was asked for is done."""
    fact = Fact(type=SUCCEEDED, status=True, reason="Completed", message="every requested stage is done")
    no_failure = Fact(type=FAILED, status=False, reason="Completed", message="every requested stage is done")
    return rollout.completed(seen, Decision(name="succeeded", phase="Succeeded", facts=(fact, no_failure)))


def _with_surroundings(seen: Observed, decision: Decision) -> Decision:
    """Add what every stage keeps up, and what it leaves behind."""
    if decision.phase in ("Failed", "Succeeded"):
        return decision
    kept = (base.account(seen.job), base.spec_config(seen.job))
    if not training.is_trained(seen):
        return replace(decision, apply=(*kept, *decision.apply))
    return replace(
        decision,
        apply=(*kept, *training.idled(seen), *decision.apply),
        replace=(*decision.replace, *quota.stopped(seen, seen.training_jobs)),
        delete=(*decision.delete, *store.removed(seen)),
    )


def _planned(seen: Observed, decision: Decision, new: JobStatus) -> Plan:
    old = seen.job.status
    lost = nodes.lost(seen) if decision.name != "being_deleted" else ()
    return Plan(
        rule=decision.name,
        apply=decision.apply,
        replace=decision.replace,
        delete=(*decision.delete, *lost),
        status=status.patch(seen.stored, new),
        events=events.between(old, new),
        counts=counts.between(old, new, undoes=bool(decision.replace)),
        requeue_after=_soonest(seen, decision),
    )


def _soonest(seen: Observed, decision: Decision) -> timedelta | None:
    """Return the earliest time at which something may be due; None when only a change can bring something new."""
    if decision.phase in ("Failed", "Succeeded"):
        return decision.requeue_after
    deadlines = (lifecycle.active_left(seen), training.pre_running_left(seen))
    waits = (decision.requeue_after, nodes.look_again(seen), *deadlines)
    return max(min((wait for wait in waits if wait is not None), default=timedelta()), timedelta()) or None


def refuse_spec(stored: Mapping[str, Any], *, generation: int, now: datetime, errors: list[str]) -> Plan:
    """Return the plan for a spec that admission let through though it is invalid: nothing runs, the status says why."""
    message = text.sentence("; ".join(errors))
    fact = Fact(type=ACCEPTED, status=False, reason="InvalidSpec", message=message)
    verdict = failed("refuse_spec", reason="InvalidSpec", message=message, facts=(fact,))
    return _verdict(stored, verdict, generation=generation, now=now)


def refuse_child(seen: Observed, *, ref: Ref, error: InvalidError) -> Plan:
    """Return the plan after the API server refused a child for good: trying again would give the same."""
    message = f"{ref} was refused: {error}"
    verdict = failed("refuse_child", reason="ChildRefused", message=message)
    return _verdict(seen.stored, verdict, generation=seen.job.generation, now=seen.now)


def _verdict(stored: Mapping[str, Any], verdict: Decision, *, generation: int, now: datetime) -> Plan:
    at, old = clock.stamp(now), parse(JobStatus, stored, path="status")
    new = replace(
        old,
        observed_generation=generation,
        phase=verdict.phase,
        conditions=condition_list.merged(old, verdict.facts, generation=generation, now=at),
        start_time=old.start_time or at,
        completion_time=old.completion_time or at,
    )
    return Plan(
        rule=verdict.name,
        status=status.patch(stored, new),
        events=events.between(old, new),
        counts=counts.between(old, new, undoes=False),
    )
