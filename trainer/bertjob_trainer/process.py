"""A worker's outside: environment in, exit code and result file out."""

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from bertjob_api import names
from bertjob_api.termination import EVICTED, OK, Result
from bertjob_trainer import failures, precision, results, settings, staying, threads, training, warming
from bertjob_trainer.group import Group, PeerLostError, RegroupError, formed, joined, neighbours
from bertjob_trainer.machine import Machine, device_of
from bertjob_trainer.memory import Memory
from bertjob_trainer.settings import Settings
from bertjob_trainer.staying import Stay
from bertjob_trainer.stop import Stop

_log = logging.getLogger(__name__)


def main(env: Mapping[str, str], stop: Stop) -> int:
    """Return the exit code of a worker with this environment; its result or failure is left in the result file."""
    rank = int(env.get("RANK", "0"))
    log_as(rank)
    try:
        given = settings.from_env(env)
        result = _train(given, env, stop)
    except Exception as error:  # noqa: BLE001  # the outermost frame: whatever it is becomes an exit code
        return failures.told(error, rank=rank, result_file=settings.result_file(env))
    if result is None:
        _log.info("stopped on request; the newest step is saved")
        return EVICTED
    if given.result_file is not None and given.local_rank == 0:
        results.write(given.result_file, result)
    return OK


def _train(given: Settings, env: Mapping[str, str], stop: Stop) -> Result | None:
    torch.set_num_threads(1)  # until the neighbours are known
    device = device_of(given.local_rank, env)
    stay = staying.from_env(env, local_rank=given.local_rank, stop=stop)
    if stay is not None:
        return _train_in_rounds(given, env, stop, stay, device=device)
    with joined(rank=given.rank, world=given.world, device=device, given_up=lambda: stop.overdue) as group:
        return _train_in(group, given, env, stop, memory=Memory(), device=device)


def _train_in_rounds(  # one more than six: what a process has, and what it stays by
    given: Settings, env: Mapping[str, str], stop: Stop, stay: Stay, *, device: torch.device
) -> Result | None:
    """Train from round to round in one process: whatever happens to others, model and optimizer stay in memory."""
    memory = Memory(is_called=lambda: stay.is_called)
    warming.warm_up(given, stop, memory, device=device, pod=env[names.PLACES_ENV])
    stay.ready()
    while (place := stay.next_place()) is not None:
        memory.recovery.reached("place", time.monotonic())
        log_as(place.rank)
        here = replace(given, rank=place.rank, world=place.world, local_world=place.local_world)
        try:
            with formed(place, device=device, given_up=lambda: stay.is_given_up, connections=stay.connections) as group:
                memory.recovery.reached("form", time.monotonic())
                return _train_in(group, here, env, stop, memory=memory, device=device)
        except PeerLostError as error:
            is_lost = not isinstance(error, RegroupError)
            memory.recovery.lost(time.monotonic(), is_loss=is_lost)
            _log.info("round %d is left: %s", place.round, error)
        stay.leave(lost=is_lost)
    memory.rescue()
    return None


def _train_in(
    group: Group, given: Settings, env: Mapping[str, str], stop: Stop, *, memory: Memory, device: torch.device
) -> Result | None:
    here = neighbours(group, threads.machine_name(), device=device)
    torch.set_num_threads(threads.wanted(given.job, local_world=given.local_world, neighbours=here, env=env))
    dtype = precision.choose(given.job.spec.training.precision, device=device, group=group)
    return training.train_job(given, Machine(device=device, group=group, dtype=dtype), stop, memory)


def log_as(rank: int) -> None:
    """Put the rank before every line of the log from now on."""
    form = f"%(asctime)s rank {rank} %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form, force=True)
