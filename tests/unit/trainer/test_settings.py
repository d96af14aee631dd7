"""A worker's environment, threads and cadence."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.jobs import a_job

from bertjob_api import names
from bertjob_api.job import parse_job
from bertjob_trainer import cadence, settings, threads


def env_of(folder: Path, **spec: Any) -> dict[str, str]:
    """Return the environment of a worker of a job with this spec."""
    path = folder / "job.json"
    path.write_text(json.dumps(a_job(**spec)))
    return {names.SPEC_FILE_ENV: str(path), "HOME": str(folder)}


def test_without_torchrun_a_worker_is_alone(tmp_path: Path) -> None:
    """The program can be started by hand."""
    found = settings.from_env(env_of(tmp_path))

    assert (found.rank, found.world, found.local_rank, found.attempt) == (0, 1, 0, 0)
    assert (found.progress_url, found.result_file) == (None, None)
    assert found.scratch.is_relative_to(tmp_path)


def test_torchruns_variables_are_read(tmp_path: Path) -> None:
    """Rank and world are torchrun's, attempt and files the supervisor's."""
    env = {
        **env_of(tmp_path),
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        names.ATTEMPT_ENV: "3",
        names.PROGRESS_URL_ENV: "http://127.0.0.1:1/",
        names.RESULT_FILE_ENV: "/tmp/result",
        names.POD_NAME_ENV: "pod-7",
    }

    found = settings.from_env(env)

    assert (found.rank, found.world, found.local_rank, found.local_world, found.attempt) == (5, 8, 1, 4, 3)
    assert found.progress_url == "http://127.0.0.1:1/"
    assert found.scratch.name == "pod-7"


def test_missing_spec_file_is_named() -> None:
    """Without the spec the variable to set is named."""
    with pytest.raises(ValueError, match=names.SPEC_FILE_ENV):
        settings.from_env({})


CPUS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("resources", "local_world", "neighbours", "env", "expected"),
    [
        ({"limits": {"cpu": "1500m"}}, 1, 1, {}, 1),
        ({"requests": {"cpu": 1}}, 1, 1, {}, 1),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "64"}}, 1, 1, {}, 1),
        ({"limits": {"cpu": "500m"}}, 1, 1, {}, 1),
        ({"limits": {"cpu": CPUS}}, CPUS, 1, {}, 1),
        ({"limits": {"cpu": "4k"}}, 1, 1, {}, CPUS),
        ({"limits": {"nvidia.com/gpu": 1}}, 1, 1, {}, CPUS),
        (None, 1, 1, {}, CPUS),
        (None, 1, CPUS, {}, 1),
        (None, 1, 1000, {}, 1),
        (None, 1, 1, {"OMP_NUM_THREADS": "1"}, 1),
        (None, 1, CPUS, {"OMP_NUM_THREADS": "64"}, 1),
    ],
)
def test_threads_fit_pod_machine_and_environment(
    resources: dict[str, Any] | None, local_world: int, neighbours: int, env: dict[str, str], expected: int
) -> None:
    """A worker gets its share of what the pod and the machine have, no more than it is told, and never none."""
    job = parse_job(a_job(training={"resources": resources}))

    assert threads.wanted(job, local_world=local_world, neighbours=neighbours, env=env) == expected


def test_cadence_in_steps() -> None:
    """A multiple of the steps is due, whatever the clock says."""
    every = cadence.parse("3 steps")

    assert [step for step in range(1, 10) if every.is_due(step)] == [3, 6, 9]


def test_cadence_in_time() -> None:
    """A save is due once in each interval, counted from the last one."""
    times = iter([0.0, 10.0, 89.0, 95.0, 95.0, 100.0, 184.0, 186.0, 186.0])
    every = cadence.parse("1m30s", clock=lambda: next(times))

    due = [every.is_due(1) for _ in range(6)]

    assert due == [False, False, True, False, False, True]


@pytest.mark.parametrize("text", ["0 steps", "0s"])
def test_cadence_of_nothing_is_refused(text: str) -> None:
    """Zero is not how often something can happen."""
    with pytest.raises(ValueError, match=r"checkpoint\.every"):
        cadence.parse(text)
