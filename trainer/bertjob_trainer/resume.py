"""From the newest checkpoint to the state of every process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bertjob_api.manifest import CheckpointManifest
from bertjob_trainer.group import Group, from_first
from bertjob_trainer.state import TrainState


class Loads(Protocol):
    """What resuming asks of checkpoints."""

    def latest(self) -> CheckpointManifest | None:
        """Return the newest intact checkpoint, or None."""
        ...

    def load(self, manifest: CheckpointManifest, into: Path | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return its tensors and metadata."""
        ...


def resume(state: TrainState, loads: Loads | None, *, group: Group, device: torch.device) -> int | None:
    """
    Bring *state* to the newest checkpoint, the same in every process, and return its step; None: there is none.

    Rank 0 alone asks storage (the others pass None): processes that looked for themselves could find different ones.
    """
    meta: Mapping[str, Any] | None = None
    if loads is not None:
        manifest = loads.latest()
        if manifest is not None:
            tensors, meta = loads.load(manifest)
            state.restore(tensors, meta)
    meta = from_first(group, meta, device=device)
    if meta is None:
        return None
    for tensor in state.tensors().values():
        group.broadcast(tensor)
    state.move_to(int(meta["step"]))
    return state.step
