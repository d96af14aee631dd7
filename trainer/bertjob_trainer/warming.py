"""What a worker does before it asks for its first place, so that those that train do not wait for it."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bertjob_trainer import inputs, training
from bertjob_trainer.group import Alone
from bertjob_trainer.locking import alone
from bertjob_trainer.machine import Machine
from bertjob_trainer.memory import Memory
from bertjob_trainer.settings import Settings
from bertjob_trainer.stop import Stop

_log = logging.getLogger(__name__)


def warm_up(given: Settings, stop: Stop, memory: Memory, *, device: torch.device, pod: str) -> None:
    """
    Fetch and read the inputs and build the model before its first step, all into *memory*.

    Args:
        given: the settings.
        stop: asked by nobody here: warming up ends soon by itself.
        memory: empty.
        device: where the model goes.
        pod: names this pod's launcher; workers with the same one share what they fetch.

    Raises:
        DataError, ModelFolderError: an input does not fit.
        StorageError: an input cannot be fetched now.

    """
    started = time.monotonic()
    once(given.scratch, lambda: inputs.fetch(given.job, given.scratch), key=pod)
    memory.is_warming = True
    training.train_job(given, Machine(device=device, group=Alone(), dtype=torch.float32), stop, memory)
    memory.is_warming = False
    _log.info("ready after %.1f s: inputs are read and the model is built", time.monotonic() - started)


def once(folder: Path, work: Callable[[], None], *, key: str) -> None:
    """Do *work* in one of the processes that call this with the same folder and key; the others wait until it is done."""
    done = folder / ".done"
    with alone(folder / ".lock"):
        if not (done.is_file() and done.read_text() == key):
            work()
            done.write_text(key)
