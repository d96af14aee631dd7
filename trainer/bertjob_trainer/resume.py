"""From the newest checkpoint to the state of every process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bertjob_api.manifest import CheckpointManifest
from bertjob_trainer.course import Course
from bertjob_trainer.group import Group, from_first
from bertjob_trainer.ledger import Ledger
from bertjob_trainer.memory import Memory
from bertjob_trainer.state import TrainState


class Loads(Protocol):
    """What resuming asks of checkpoints."""

    def latest(self) -> CheckpointManifest | None:
        """Return the newest intact checkpoint, or None."""
        ...

    def load(self, manifest: CheckpointManifest, into: Path | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return its tensors and metadata."""
        ...


def from_survivor(memory: Memory, *, group: Group, device: torch.device) -> int | None:
    """
    Bring the state of every process to the most advanced one, of the lowest rank that has it, and return its step.

    None: no process has a state, so it must come from storage. A process that is lost meanwhile leaves the others with what they
    had, or without a state where a part of the new one was written already.
    """
    state = memory.state
    assert state is not None, "the state is built before it is filled; this is a bug"
    ages = torch.zeros(group.world, dtype=torch.int64, device=device)
    ages[group.rank] = state.step + 1 if memory.is_whole else 0
    group.sum(ages)
    best = int(ages.max())
    if best == 0:
        return None
    source = ages.tolist().index(best)
    if int(ages.min()) < best:
        memory.is_whole = memory.is_whole and state.step + 1 == best
        memory.is_mixed = not memory.is_whole
        for tensor in state.tensors().values():
            group.broadcast(tensor, source=source)
        told = from_first(group, state.ledger.to_json(), device=device, source=source)
        if not (memory.is_whole and state.step + 1 == best):
            state.ledger = Ledger.from_json(told)
        state.move_to(best - 1)
        memory.is_whole, memory.is_mixed = True, False
    return state.step


def resume(state: TrainState, loads: Loads | None, *, group: Group, device: torch.device) -> int | None:
    """
    Bring *state* to the newest checkpoint, the same in every process, and return its step; None: there is none.

    Rank 0 alone asks storage (the others pass None): processes that looked for themselves could find different ones.
    """
    meta: Mapping[str, Any] | None = None
    tensors: Mapping[str, Tensor] | None = None
    state.course = Course()
    if loads is not None:
        manifest = loads.latest()
        if manifest is not None:
            tensors, meta = loads.load(manifest)
    meta = from_first(group, meta, device=device)
    if meta is None:
        return None
    state.fill(tensors, int(meta["step"]), group=group)
    state.continue_from(meta)
    return state.step


def share_course(state: TrainState, *, group: Group, device: torch.device) -> None:
    """Give every process the longest course of all, that of the lowest rank that has it; states are of one step already."""
    lengths = torch.zeros(group.world, dtype=torch.int64, device=device)
    lengths[group.rank] = len(state.course)
    group.sum(lengths)
    longest = int(lengths.max())
    if int(lengths.min()) == longest:
        return
    source = lengths.tolist().index(longest)
    state.course = Course.from_json(from_first(group, state.course.to_json(), device=device, source=source))
