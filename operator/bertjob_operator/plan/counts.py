"""Counts: what a change of the status adds to the operator's metrics."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from bertjob_api.conditions import ACCEPTED, FAILED, GATE_PASSED, OPTIMIZED, ROLLED_OUT, SUCCEEDED, TRAINED
from bertjob_api.status import JobStatus
from bertjob_operator.plan import clock, condition_list
from bertjob_operator.plan.effects import Count

VERDICTS: Final = (
    (Count(metric="jobs", label="succeeded"), SUCCEEDED, "True"),
    (Count(metric="jobs", label="failed"), FAILED, "True"),
    (Count(metric="gate", label="passed"), GATE_PASSED, "True"),
    (Count(metric="gate", label="failed"), GATE_PASSED, "False"),
    (Count(metric="rollouts", label="successful"), ROLLED_OUT, "True"),
    (Count(metric="rollouts", label="failed"), ROLLED_OUT, "False"),
)
"""What is counted when a condition flips to a word."""
PHASES: Final = (
    ("Pending", None, ACCEPTED),
    ("Training", ACCEPTED, TRAINED),
    ("Optimizing", TRAINED, OPTIMIZED),
    ("RollingOut", OPTIMIZED, ROLLED_OUT),
)
"""Each phase with the condition that it begins with and the one that it ends with; None: the job's start."""


def between(old: JobStatus, new: JobStatus, *, undoes: bool) -> tuple[Count, ...]:
    """
    Return what is to be counted when *old* has become *new*.

    Args:
        old: status as it was stored.
        new: status as it is stored now.
        undoes: an InferenceService was written together with a failed rollout: its old model came back.

    """
    return (*_verdicts(old, new), *_rollbacks(old, new, undoes=undoes), *_restarts(old, new), *_phases(old, new))


def _became(old: JobStatus, new: JobStatus, kind: str, word: str) -> bool:
    """Tell whether the condition *kind* flipped to *word*."""
    before, after = condition_list.find(old, kind), condition_list.find(new, kind)
    return after is not None and after.status == word and (before is None or before.status != word)


def _verdicts(old: JobStatus, new: JobStatus) -> Iterator[Count]:
    for verdict, kind, word in VERDICTS:
        if _became(old, new, kind, word):
            yield verdict


def _rollbacks(old: JobStatus, new: JobStatus, *, undoes: bool) -> Iterator[Count]:
    if undoes and _became(old, new, ROLLED_OUT, "False"):
        yield Count(metric="rollbacks")


def _restarts(old: JobStatus, new: JobStatus) -> Iterator[Count]:
    for label, name in (("failure", "restarts"), ("disruption", "disruptions")):
        before, after = (getattr(status.training, name, 0) for status in (old, new))
        if after > before:
            yield Count(metric="restarts", label=label, amount=after - before)


def _phases(old: JobStatus, new: JobStatus) -> Iterator[Count]:
    for phase, first, last in PHASES:
        if not _became(old, new, last, "True"):
            continue
        began, ended = clock.instant(_since(new, first)), clock.instant(_since(new, last))
        if began is not None and ended is not None:
            yield Count(metric="phases", label=phase, amount=max(ended - began, timedelta()).total_seconds())


def _since(status: JobStatus, kind: str | None) -> str | None:
    """Return since when the condition *kind* is True; None: it is not."""
    if kind is None:
        return status.start_time
    found = condition_list.find(status, kind)
    return found.last_transition_time if found is not None and found.status == "True" else None
