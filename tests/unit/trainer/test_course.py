"""The records of a run: bounded, each step once, the same after a journey through JSON."""

import json
import math

from bertjob_trainer.course import EVALUATION, START, STEP, Course


def test_course_survives_json() -> None:
    """What comes back is what was there, in the same order."""
    course = Course()
    course.started(0, now=1.0, values={"processes": 2})
    course.stepped(1, total=10, now=2.0, values={"loss": 0.5})
    course.evaluated(1, now=3.0, values={"epoch": 0.1, "accuracy": 0.25})
    course.started(1, now=4.0, values={"processes": 1})

    again = Course.from_json(json.loads(json.dumps(course.to_json())))

    assert again.records == course.records
    assert [record.kind for record in again.records] == [START, STEP, EVALUATION, START]
    assert [dict(each.metrics) for each in again.evaluations] == [{"accuracy": 0.25}]


def test_step_that_is_done_again_stands_once() -> None:
    """A step that was done twice, because its first result was lost, has the figures of the second time."""
    course = Course()
    for loss in (0.5, 0.4):
        course.stepped(1, total=10, now=1.0, values={"loss": loss})

    assert [record.values["loss"] for record in course.records] == [0.4]


def test_long_run_has_a_bounded_number_of_records() -> None:
    """Of very many steps every so many are kept, the first and the last always; of starts the first and the newest."""
    course, total = Course(), 100_001
    for step in range(1, total + 1):
        course.stepped(step, total=total, now=0.0, values={})
    for number in range(500):
        course.started(number, now=float(number), values={})

    steps = [record.step for record in course.records if record.kind == STEP]
    starts = [record.step for record in course.records if record.kind == START]
    assert len(steps) <= 2002
    assert (steps[0], steps[-1]) == (1, total)
    assert (len(starts), starts[0], starts[-1]) == (200, 0, 499)


def test_figures_that_json_cannot_carry_are_left_out() -> None:
    """NaN and infinity never reach a checkpoint's metadata."""
    course = Course()
    course.evaluated(5, now=0.0, values={"a": math.nan, "b": math.inf, "c": 1.0})

    assert dict(course.evaluations[0].metrics) == {"c": 1.0}
