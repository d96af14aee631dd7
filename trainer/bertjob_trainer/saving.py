"""When the state of a run is handed to its checkpoints, and with what beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from bertjob_api.progress import Committed
from bertjob_trainer import evaluations, ledger
from bertjob_trainer.evaluations import Watch
from bertjob_trainer.order import Order
from bertjob_trainer.state import TrainState


class Saves(Protocol):
    """What the loop asks of checkpoints."""

    @property
    def committed(self) -> Committed | None:
        """Return the newest commit, without waiting."""
        ...

    def enclose(self, records: Mapping[str, bytes]) -> None:
        """Take files of the run, by name below its folder, that must be written before the next save is committed."""
        ...

    def save(
        self,
        state: Mapping[str, Tensor],
        meta: Mapping[str, Any],
        *,
        step: int,
        total_steps: int,
        world_size: int,
        samples_seen: int,
    ) -> None:
        """Copy the state now and commit it in the background."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a checkpoint says of the run around it."""

    order: Order
    watch: Watch
    world: int
    """Processes that train together."""


def save(state: TrainState, saves: Saves | None, purpose: Purpose) -> None:
    """Hand the state to *saves*; nothing when that is None or no step is done yet. Every process of a split state calls this."""
    if state.step == 0:
        return
    tensors = state.gathered()
    if saves is None:
        return
    saves.enclose(ledger.records(state.ledger, since=committed_step(saves)))
    best = best_step(state, purpose.watch)
    saves.save(
        tensors,
        {**state.meta(), "pinned": [] if best is None else [best]},
        step=state.step,
        total_steps=purpose.order.total_steps,
        world_size=purpose.world,
        samples_seen=purpose.order.samples_before(state.step),
    )


def committed_step(saves: Saves) -> int:
    """Return the step of the newest checkpoint that this process committed, 0 before the first."""
    return saves.committed.step if saves.committed is not None else 0


def best_step(state: TrainState, watch: Watch) -> int | None:
    """Return the step of the model that would be published now; None: the newest, whatever its metrics."""
    if watch.best is None:
        return None
    found = evaluations.best(state.course.evaluations, watch.best)
    return found.step if found is not None else None
