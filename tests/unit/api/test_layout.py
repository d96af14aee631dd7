"""Where things lie: runs are named by what changes their result, and by nothing else."""

from typing import Any

import pytest
from support.jobs import a_job

from bertjob_api import layout
from bertjob_api.job import parse_job

INPUTS = {"model": "aa", "train": "bb", "validation": "cc"}
BASE = layout.run_id(parse_job(a_job()), INPUTS)


@pytest.mark.parametrize(
    "spec",
    [
        {"training": {"replicas": 4}},
        {"training": {"replicas": 2, "elastic": {"min": 1, "max": 8}}},
        {"training": {"checkpoint": {"every": "5 steps"}}},
        {"training": {"image": "other"}},
        {"suspend": True},
        {"serving": {"inferenceService": "docs"}},
    ],
)
def test_placement_does_not_change_the_run(spec: dict[str, Any]) -> None:
    """A resumed or rescaled job finds its checkpoints."""
    assert layout.run_id(parse_job(a_job(**spec)), INPUTS) == BASE


@pytest.mark.parametrize(
    "spec",
    [
        {"training": {"seed": 1}},
        {"training": {"epochs": 9}},
        {"training": {"earlyStopping": {}}},
        {"training": {"checkpoint": {"best": "accuracy"}}},
        {"data": {"maxSequenceLength": 64}},
        {"model": {"labels": ["a", "b"]}},
    ],
)
def test_what_changes_weights_changes_the_run(spec: dict[str, Any]) -> None:
    """Another recipe does not resume from this one's checkpoints."""
    assert layout.run_id(parse_job(a_job(**spec)), INPUTS) != BASE


def test_other_data_is_another_run() -> None:
    """Changed data under the same URI is trained on, not skipped."""
    assert layout.run_id(parse_job(a_job()), {**INPUTS, "train": "changed"}) != BASE


@pytest.mark.parametrize("step", [0, 1, 500, 99_999_999])
def test_step_folder_round_trip(step: int) -> None:
    """A folder's name tells its step."""
    assert layout.step_of(layout.step_folder(step)) == step


@pytest.mark.parametrize("name", ["", "LATEST", "step-1", "step-0000000x", "my-step-00000001"])
def test_other_names_are_no_steps(name: str) -> None:
    """Foreign objects beside checkpoints are not taken for one."""
    assert layout.step_of(name) is None


def test_storage_uri_lies_below_the_prefix() -> None:
    """storage:// serves a laptop and a cluster alike."""
    assert (
        layout.resolve("storage://data/train.jsonl", prefix="s3://bucket/team/") == "s3://bucket/team/data/train.jsonl"
    )
    assert layout.resolve("s3://other/x", prefix="s3://bucket") == "s3://other/x"
