"""A spare worker's time before it has a number."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from bertjob_api import names
from bertjob_trainer import failures, process, settings, warming
from bertjob_trainer.elastic.places import Places
from bertjob_trainer.memory import Memory
from bertjob_trainer.stop import Stop

_log = logging.getLogger(__name__)

_POLL_S: Final = 0.02


def for_number(env: Mapping[str, str], stop: Stop, memory: Memory) -> dict[str, str] | None:
    """
    Read the inputs, wait for a number, and return the environment of the worker with it; None: asked to stop, or an input fails.

    Args:
        env: of a spare worker.
        stop: whether it was asked to.
        memory: gets all but the model.

    """
    process.log_as("spare")
    torch.set_num_threads(1)
    places, pid = Places(Path(env[names.PLACES_ENV])), os.getpid()
    try:
        _read_inputs(env, stop, memory)
    except Exception as error:  # noqa: BLE001  # those that train meet it too, and tell it as theirs
        _log.warning("the spare worker ends: %s", failures.judge(error, rank=0)[1].message)
        return None
    places.say_spare(pid)
    _log.info("the spare worker is ready (pid %d)", pid)
    while not stop.asked:
        places.beat(pid)
        number = places.number_of(pid)
        if number is not None:
            known = {key: value for key, value in env.items() if key != names.SPARE_ENV}
            return {**known, "RANK": "0", "LOCAL_RANK": str(number), names.RESULT_FILE_ENV: env[names.SPARE_ENV]}
        time.sleep(_POLL_S)
    return None


def _read_inputs(env: Mapping[str, str], stop: Stop, memory: Memory) -> None:
    given = settings.from_env({**env, "RANK": "0", "LOCAL_RANK": "0"})
    memory.is_spare = True
    # On the CPU: an accelerator's memory is for those that train.
    warming.warm_up(given, stop, memory, device=torch.device("cpu"), pod=env[names.PLACES_ENV])
    memory.is_spare = False
