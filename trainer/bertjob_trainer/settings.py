"""A worker's environment as values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bertjob_api import names
from bertjob_api.job import BertJob, parse_job

_RECORDS: Final = "bertjob-runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What supervisor and torchrun tell a worker."""

    job: BertJob
    attempt: int
    """Ordinal of the training attempt."""
    rank: int
    world: int
    local_rank: int
    """Rank within this pod."""
    local_world: int
    """Workers of this pod."""
    progress_url: str | None
    """None: nobody listens."""
    result_file: Path | None
    """None: nobody reads it."""
    scratch: Path
    """Folder of this pod's workers for downloads; may not exist."""

    @property
    def records(self) -> Path:
        """Return the folder on this machine where training is followed: ``metrics.jsonl`` and TensorBoard's events."""
        return self.scratch.parent.parent / _RECORDS / self.job.name


def from_env(env: Mapping[str, str]) -> Settings:
    """
    Return the settings in *env*; without torchrun's variables, those of a single worker.

    Raises:
        ValueError: the spec cannot be read.

    """
    path = env.get(names.SPEC_FILE_ENV)
    if path is None:
        raise ValueError(f"{names.SPEC_FILE_ENV}: is not set, expected the path of the job's JSON; set it")
    job = parse_job(json.loads(Path(path).read_text(encoding="utf-8")), local=True)
    home = Path(env.get("HOME", names.SCRATCH_DIR))
    return Settings(
        job=job,
        attempt=int(env.get(names.ATTEMPT_ENV, "0")),
        rank=int(env.get("RANK", "0")),
        world=int(env.get("WORLD_SIZE", "1")),
        local_rank=int(env.get("LOCAL_RANK", "0")),
        local_world=int(env.get("LOCAL_WORLD_SIZE", "1")),
        progress_url=env.get(names.PROGRESS_URL_ENV),
        result_file=result_file(env),
        # Named by the pod, since process pods of one machine may share a home.
        scratch=home / "bertjob-inputs" / (env.get(names.POD_NAME_ENV) or job.name),
    )


def records_of(env: Mapping[str, str], job: BertJob) -> Path:
    """Return ``Settings.records`` of a worker that has no other settings."""
    return Path(env.get("HOME", names.SCRATCH_DIR)) / _RECORDS / job.name


def result_file(env: Mapping[str, str]) -> Path | None:
    """Return where a worker leaves its result; None: nobody reads it."""
    found = env.get(names.RESULT_FILE_ENV)
    return Path(found) if found else None
