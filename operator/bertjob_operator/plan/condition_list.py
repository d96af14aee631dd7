"""Conditions in a status: reading them, and merging new facts into them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from bertjob_api.conditions import FAILED, FINISHED, SUCCEEDED, SUSPENDED, TYPES
from bertjob_api.status import Condition, JobStatus
from bertjob_operator.plan.clock import instant
from bertjob_operator.plan.effects import Fact

_WORDS: Final[Mapping[bool | None, str]] = {True: "True", False: "False", None: "Unknown"}


def find(status: JobStatus, kind: str) -> Condition | None:
    """Return the condition of type *kind*, or None."""
    return next((item for item in status.conditions if item.type == kind), None)


def holds(status: JobStatus, kind: str) -> bool:
    """Tell whether the condition of type *kind* is True."""
    found = find(status, kind)
    return found is not None and found.status == "True"


def merged(status: JobStatus, facts: Iterable[Fact], *, generation: int, now: str) -> tuple[Condition, ...]:
    """
    Return all conditions: of several facts of one type the last counts; a type without a fact stays as it is.

    The transition time moves only when the status flips.
    """
    newest = {fact.type: fact for fact in facts}
    found = tuple(
        _one(find(status, kind), newest.get(kind), kind, generation, now) for kind in TYPES if kind != FINISHED
    )
    return (*found, _one(find(status, FINISHED), _finished(found), FINISHED, generation, now))


def _finished(conditions: Iterable[Condition]) -> Fact:
    """Return the fact that the two terminal conditions make together."""
    last = next((item for item in conditions if item.type in (SUCCEEDED, FAILED) and item.status == "True"), None)
    if last is None:
        return Fact(type=FINISHED, status=False, reason="NotFinished", message="the job goes on")
    return Fact(type=FINISHED, status=True, reason=last.type, message=last.message)


def _one(old: Condition | None, fact: Fact | None, kind: str, generation: int, now: str) -> Condition:
    if fact is None and old is not None:
        return old
    if fact is None:
        fact = Fact(type=kind, status=None, reason="NotReached", message="the job has not come so far")
    word = _WORDS[fact.status]
    since = old.last_transition_time if old is not None and old.status == word else now
    return Condition(
        type=kind,
        status=word,  # type: ignore[arg-type]  # one of the three words
        observed_generation=generation,
        last_transition_time=since,
        reason=fact.reason,
        message=fact.message,
    )


def resumed(status: JobStatus) -> datetime | None:
    """Return when the job was resumed last; None: it never was, or it is suspended."""
    found = find(status, SUSPENDED)
    return instant(found.last_transition_time) if found is not None and found.status == "False" else None
