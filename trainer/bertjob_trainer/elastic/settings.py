"""What the launcher needs to know, from its environment and the job."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bertjob_api import names
from bertjob_api.job import parse_job
from bertjob_api.spec import Training

WORKER: Final = ("-m", "bertjob_trainer.worker")
OWN: Final = ("-m", "bertjob_trainer.own")
"""Runs an own script, whose arguments follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One launcher."""

    store_host: str
    store_port: int
    run_id: str
    """Names the rendezvous; new for each attempt, since a closed one cannot be joined again."""
    address: str
    """Address of this pod, under which the other workers reach it."""
    min_nodes: int
    max_nodes: int
    processes: int
    """Workers of this node."""
    command: tuple[str, ...]
    """What a worker runs."""
    failure_limit: int
    result_file: Path
    keeps_spare: bool
    """Whether one more worker than trains is kept ready."""
    progress_url: str | None
    """Where the supervisor tells progress; None: nowhere, as in a hand-made start."""


def from_env(env: Mapping[str, str], *, gpus: int) -> Settings:
    """
    Return the launcher's settings.

    Args:
        env: written by ``bertjob_api.commands`` and the supervisor.
        gpus: GPUs of this node; 0: none.

    Raises:
        ValueError: a variable is missing or malformed, or the job is invalid.

    """
    job = parse_job(json.loads(Path(needed(env, names.SPEC_FILE_ENV)).read_text()), local=True)
    training = job.spec.training
    host, _, port = needed(env, names.RDZV_ENDPOINT_ENV).rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(
            f"{names.RDZV_ENDPOINT_ENV}: got {env[names.RDZV_ENDPOINT_ENV]!r}, expected HOST:PORT of the rendezvous store"
        )
    least, most = nodes(training)
    return Settings(
        store_host=host.strip("[]"),
        store_port=int(port),
        run_id=needed(env, names.RDZV_ID_ENV),
        address=needed(env, names.POD_IP_ENV),
        min_nodes=least,
        max_nodes=most,
        processes=processes(training, gpus=gpus),
        command=worker_command(training.command),
        failure_limit=job.spec.backoff.limit,
        result_file=Path(needed(env, names.RESULT_FILE_ENV)),
        keeps_spare=training.elastic is not None and training.elastic.spare,
        progress_url=env.get(names.PROGRESS_URL_ENV),
    )


def needed(env: Mapping[str, str], name: str) -> str:
    """Return a variable that must be set. Raises ValueError."""
    value = env.get(name)
    if not value:
        raise ValueError(f"{name}: is not set; start this program as the operator does (bertjob_api.commands)")
    return value


def nodes(training: Training) -> tuple[int, int]:
    """Return the fewest and most nodes that may train together."""
    if training.elastic is not None:
        return training.elastic.min, training.elastic.max
    return max(1, training.replicas), max(1, training.replicas)


def processes(training: Training, *, gpus: int) -> int:
    """Return the workers of one node: as the job says, else one for each GPU, else one."""
    wanted = training.processes_per_node
    return max(1, gpus) if wanted == "auto" else int(wanted)


def worker_command(own: Sequence[str] | None) -> tuple[str, ...]:
    """
    Return the argv of a worker.

    Args:
        own: the job's ``training.command`` as arguments of torchrun: a script or ``-m module``, or ``--no-python program``,
            each with its arguments; None: BertJob's worker.

    """
    return (sys.executable, *((*OWN, *own) if own else WORKER))
