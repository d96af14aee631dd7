"""A worker's outside: environment in, exit code and result file out."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from bertjob_api import names
from bertjob_api.termination import EVICTED, OK, Result
from bertjob_trainer import failures, precision, results, settings, threads, training
from bertjob_trainer.group import joined, neighbours
from bertjob_trainer.machine import Machine, device_of
from bertjob_trainer.settings import Settings
from bertjob_trainer.stop import Stop

_log = logging.getLogger(__name__)


def main(env: Mapping[str, str], stop: Stop) -> int:
    """Return the exit code of a worker with this environment; its result or failure is left in the result file."""
    rank = int(env.get("RANK", "0"))
    form = f"%(asctime)s rank {rank} %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form)
    try:
        given = settings.from_env(env)
        result = _train(given, env, stop)
    except Exception as error:  # noqa: BLE001  # the outermost frame: whatever it is becomes an exit code
        code, failure = failures.judge(error, rank=rank)
        is_bug = failure.reason == "WorkerCrashed"
        _log.error("%s: %s", failure.reason, failure.message, exc_info=error if is_bug else None)
        if env.get(names.RESULT_FILE_ENV):
            results.write_failure(Path(env[names.RESULT_FILE_ENV]), Result(failure=failure))
        return code
    if result is None:
        _log.info("stopped on request; the newest step is saved")
        return EVICTED
    if given.result_file is not None and given.local_rank == 0:
        results.write(given.result_file, result)
    return OK


def _train(given: Settings, env: Mapping[str, str], stop: Stop) -> Result | None:
    device = device_of(given.local_rank, env)
    torch.set_num_threads(1)  # until the neighbours are known
    with joined(rank=given.rank, world=given.world, device=device, given_up=lambda: stop.overdue) as group:
        here = neighbours(group, threads.machine_name(), device=device)
        torch.set_num_threads(threads.wanted(given.job, local_world=given.local_world, neighbours=here, env=env))
        dtype = precision.choose(given.job.spec.training.precision, device=device, group=group)
        return training.train_job(given, Machine(device=device, group=group, dtype=dtype), stop)
