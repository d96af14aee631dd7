"""Rules and stages."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bertjob_api import conditions
from bertjob_api.status import LastFailure
from bertjob_operator.plan import text
from bertjob_operator.plan.effects import Decision, Delete, Fact, Replace
from bertjob_operator.plan.observed import Observed

Rule = Callable[[Observed], Decision | None]
"""A named fact: its verdict when it holds, else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a job's way."""

    is_done: Callable[[Observed], bool]
    facts: Callable[[Observed], tuple[Fact, ...]]
    """What holds once it is done."""
    rules: tuple[Rule, ...]
    """What to do while it is not; the last one always has a verdict."""


def first(rules: tuple[Rule, ...], seen: Observed) -> Decision | None:
    """Return the first verdict, or None when no rule has one."""
    return next((verdict for rule in rules if (verdict := rule(seen)) is not None), None)


def failed(
    name: str,
    *,
    reason: str,
    message: str,
    facts: tuple[Fact, ...] = (),
    failure: LastFailure | None = None,
    replace: tuple[Replace, ...] = (),
) -> Decision:
    """Return the verdict that the job has failed for good."""
    idle = tuple(
        Fact(type=kind, status=False, reason="JobFailed", message="the job has failed")
        for kind in (conditions.SCHEDULED, conditions.TRAINING, conditions.STALLED)
    )
    end = (
        Fact(type=conditions.SUCCEEDED, status=False, reason=text.reason(reason), message=text.sentence(message)),
        Fact(type=conditions.FAILED, status=True, reason=text.reason(reason), message=text.sentence(message)),
    )
    return Decision(name=name, phase="Failed", facts=(*idle, *facts, *end), failure=failure, replace=replace)


def waiting(
    name: str, *, phase: str, facts: tuple[Fact, ...], delete: tuple[Delete, ...] = (), after: timedelta | None = None
) -> Decision:
    """Return the verdict that only time or others can bring the job on."""
    return Decision(name=name, phase=phase, facts=facts, delete=delete, requeue_after=after)
