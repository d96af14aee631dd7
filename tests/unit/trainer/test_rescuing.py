"""What is saved when another process is lost: the state that is held by then."""

from pathlib import Path

import pytest
import torch
from support.jobs import a_job
from support.learning import a_dataset, a_state, an_order

from bertjob_api.job import parse_job
from bertjob_storage.local import LocalStorage
from bertjob_trainer import rescuing
from bertjob_trainer.checkpoint import Checkpoints
from bertjob_trainer.evaluations import Watch
from bertjob_trainer.memory import Memory
from bertjob_trainer.saving import Purpose
from bertjob_trainer.settings import Settings

PURPOSE = Purpose(order=an_order(a_dataset(), epochs=4), watch=Watch(), world=2)


def settings(folder: Path, *, rank: int) -> Settings:
    """Return those of a process among two pods of one worker."""
    return Settings(
        job=parse_job(a_job()),
        attempt=0,
        rank=rank,
        world=2,
        local_rank=0,
        local_world=1,
        progress_url=None,
        result_file=None,
        scratch=folder,
    )


def a_memory(folder: Path, *, step: int) -> Memory:
    """Return what a process holds after so many steps."""
    state = a_state(dropout=0.0)
    state.move_to(step)
    checkpoints = Checkpoints(LocalStorage(), f"file://{folder}/run", 3, 0, "run")
    return Memory(state=state, is_whole=True, checkpoints=checkpoints)


@pytest.mark.parametrize("is_whole", [True, False])
def test_state_built_anew_takes_the_place_of_the_old_one(tmp_path: Path, is_whole: bool) -> None:
    """A loss after the state was built again never saves the old one; the new one goes once it is of a whole step."""
    memory = a_memory(tmp_path, step=5)
    rescuing.prepare(settings(tmp_path, rank=0), memory, PURPOSE)
    memory.state, memory.is_whole = a_state(dropout=0.0, seed=2), is_whole
    memory.state.move_to(9)

    memory.rescue()

    assert memory.checkpoints is not None
    found = memory.checkpoints.latest()
    assert (found.step if found is not None else None) == (9 if is_whole else None)
    if found is not None:
        tensors, _ = memory.checkpoints.load(found)
        assert all(torch.equal(tensors[name], value) for name, value in memory.state.tensors().items())


@pytest.mark.parametrize(("rank", "saves"), [(0, True), (1, True), (2, False)])
def test_first_of_the_first_two_pods_save(tmp_path: Path, rank: int, saves: bool) -> None:
    """One of the two may be the lost one; a third would send the same again."""
    memory = a_memory(tmp_path, step=5)
    rescuing.prepare(settings(tmp_path, rank=rank), memory, PURPOSE)

    memory.rescue()

    assert memory.checkpoints is not None
    assert (memory.checkpoints.latest() is not None) == saves
