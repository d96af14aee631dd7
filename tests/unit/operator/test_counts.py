"""What a change of the status adds to the metrics."""

from dataclasses import replace

import pytest
from support.observing import conditions_of

from bertjob_api.parse import parse
from bertjob_api.status import JobStatus, TrainingStatus
from bertjob_operator.plan import Count, counts


def _status(*words: tuple[str, str, str], **fields: object) -> JobStatus:
    """Return a status with conditions given by type, word and time of day."""
    conditions = [
        {**conditions_of(kind, word), "lastTransitionTime": f"2026-05-04T{time}Z"} for kind, word, time in words
    ]
    return parse(JobStatus, {"startTime": "2026-05-04T11:00:00Z", "conditions": conditions, **fields}, path="status")


ACCEPTED = ("Accepted", "True", "11:00:04")
TRAINED = ("Trained", "True", "11:10:04")
OPTIMIZED = ("Optimized", "True", "11:11:04")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (_status(), _status(ACCEPTED), [Count(metric="phases", label="Pending", amount=4)]),
        (_status(ACCEPTED), _status(ACCEPTED, TRAINED), [Count(metric="phases", label="Training", amount=600)]),
        (
            _status(ACCEPTED, TRAINED),
            _status(ACCEPTED, TRAINED, OPTIMIZED, ("GatePassed", "True", "11:11:04")),
            [Count(metric="gate", label="passed"), Count(metric="phases", label="Optimizing", amount=60)],
        ),
        (
            _status(ACCEPTED, TRAINED),
            _status(ACCEPTED, TRAINED, ("GatePassed", "False", "11:11:04"), ("Failed", "True", "11:11:04")),
            [Count(metric="jobs", label="failed"), Count(metric="gate", label="failed")],
        ),
        (
            _status(OPTIMIZED),
            _status(OPTIMIZED, ("RolledOut", "True", "11:12:04"), ("Succeeded", "True", "11:12:04")),
            [
                Count(metric="jobs", label="succeeded"),
                Count(metric="rollouts", label="successful"),
                Count(metric="phases", label="RollingOut", amount=60),
            ],
        ),
        (_status(ACCEPTED, TRAINED), _status(ACCEPTED, TRAINED), []),
        (_status(ACCEPTED), _status(("Accepted", "True", "11:30:00")), []),
    ],
    ids=["accepted", "trained", "gate passed", "gate failed", "rolled out", "nothing new", "still accepted"],
)
def test_change_is_counted_once(old: JobStatus, new: JobStatus, expected: list[Count]) -> None:
    """Only a flip counts, and a phase that ended with it lasted from the flip before."""
    assert list(counts.between(old, new, undoes=False)) == expected


def test_restarts_are_counted_by_cause() -> None:
    """What is counted is what came since the status before, failures apart from disruptions."""
    old = replace(_status(), training=TrainingStatus(restarts=1, disruptions=2))
    new = replace(_status(), training=TrainingStatus(restarts=3, disruptions=3))

    assert list(counts.between(old, new, undoes=False)) == [
        Count(metric="restarts", label="failure", amount=2),
        Count(metric="restarts", label="disruption", amount=1),
    ]


@pytest.mark.parametrize("undoes", [True, False])
def test_rollback_is_a_failed_rollout_that_was_undone(undoes: bool) -> None:
    """A rollout that failed without an older model to go back to is no rollback."""
    found = counts.between(_status(), _status(("RolledOut", "False", "11:12:04")), undoes=undoes)

    assert (Count(metric="rollbacks") in found) == undoes
    assert Count(metric="rollouts", label="failed") in found
