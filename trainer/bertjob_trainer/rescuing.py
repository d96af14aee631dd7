"""What is saved of a run when another process of it is lost, so that no step is lost with it."""

import logging
from functools import partial

from bertjob_storage.protocol import StorageError
from bertjob_trainer import publishing
from bertjob_trainer.checkpoint import Checkpoints
from bertjob_trainer.group import PeerLostError, RegroupError
from bertjob_trainer.memory import Memory
from bertjob_trainer.saving import Purpose, save
from bertjob_trainer.settings import Settings

_log = logging.getLogger(__name__)


def is_rescuer(given: Settings) -> bool:
    """
    Return whether this process saves its state when another one is lost: the first of each of the first two pods does.

    Every survivor has the whole state, so no step is lost with a worker or a pod. Two, because one may be the lost one, and no
    more, because each sends the whole state.
    """
    return given.rank in (0, given.local_world)


def prepare(given: Settings, memory: Memory, purpose: Purpose) -> None:
    """Let ``memory.rescue`` be what this process does in the round that begins, whatever state *memory* holds by then."""
    memory.rescue = partial(rescue, given, memory, purpose)


def rescue(given: Settings, memory: Memory, purpose: Purpose) -> None:
    """Commit the state that *memory* holds, if that is this process's part and the state is of one step and whole."""
    state, checkpoints = memory.state, memory.checkpoints
    if state is None or checkpoints is None:
        return
    if (
        is_rescuer(given) and memory.is_whole and not state.is_split
    ):  # else a broadcast of another's state may have broken off
        save(state, checkpoints, purpose)
    await_commit(checkpoints)


def before_leaving(error: PeerLostError, memory: Memory) -> None:
    """Wait for commits without which the next group would lose steps."""
    if memory.checkpoints is None:
        return
    if memory.is_called is None:
        await_commit(memory.checkpoints)
    elif memory.state is not None and memory.state.is_split and isinstance(error, RegroupError):
        publishing.settle(memory.checkpoints)


def await_commit(checkpoints: Checkpoints) -> None:
    """Wait for what was saved when another process was lost; that loss stays what ends this one."""
    try:
        saved = checkpoints.wait()
    except StorageError as error:
        _log.warning("the newest step was not saved: %s", error)
    else:
        _log.info("another process is lost; %s", f"step {saved.step} is saved" if saved else "nothing was to be saved")
