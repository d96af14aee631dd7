"""
The training loop, top to bottom.

The result of a step depends on seed, data and step alone: every process computes its share of the step's micro-batches, the
sums are the same for any number of processes (up to the order of additions), and every process takes the same optimizer step.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bertjob_api.progress import Committed
from bertjob_trainer import ledger, losses, optim, order
from bertjob_trainer.cadence import Cadence
from bertjob_trainer.data import Dataset
from bertjob_trainer.group import Group, PeerLostError, RegroupError
from bertjob_trainer.parallel.starting import strategy_of
from bertjob_trainer.parallel.strategy import Arithmetic, Work
from bertjob_trainer.state import TrainState

_LOSS, _STOP, _SAVE, _LEAVE, _TALLY = range(5)
_FIRST_RANK = _TALLY + ledger.PARTS
"""Flags summed with the gradients: the loss, processes asked to stop, processes whose clock says save, processes called to
another group, the tally of the samples, then one per rank that is 1 where the loss is not finite."""


class NonFiniteLossError(ValueError):
    """The loss or its gradient became inf or nan; training on would destroy the model."""

    def __init__(self, message: str, *, step: int, rank: int | None) -> None:
        self.step = step
        self.rank = rank
        super().__init__(message)


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
class TrainConfig:
    """What the loop needs to know; the same in every process."""

    order: order.Order
    schedule: optim.Schedule
    seed: int
    dtype: torch.dtype
    """Arithmetic of forward and backward."""
    loss: Callable[[Tensor, Tensor], Tensor] = losses.classes
    """Outputs and targets to the loss, summed over the targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Io:
    """The loop's connections to the world."""

    group: Group
    device: torch.device
    cadence: Cadence
    saves: Saves | None
    """None: this process does not save."""
    rescues: Saves | None
    """Gets the state when another process is lost; None: this process keeps out of it."""
    is_stopped: Callable[[], bool]
    """Whether this process was asked to end."""
    report: Callable[["Step"], None]
    is_called: Callable[[], bool] | None = None
    """Whether this process is called to another group; None: it has no next group and ends with this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happened in one step."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean loss of the global batch."""
    num_samples: int
    seconds: float


def train(config: TrainConfig, state: TrainState, data: Dataset, io: Io) -> bool:
    """
    Train until the end or until any process is asked to stop, and return whether the end was reached.

    When stopped, a checkpoint of the newest step is being committed.

    Raises:
        NonFiniteLossError: in every process, at the same step; the newest checkpoint is untouched.
        PeerLostError, RegroupError: a process is lost, or called to another group; the state is that of a whole step.

    """
    total = config.order.total_steps
    state.model.train()
    arithmetic = Arithmetic(loss=config.loss, dtype=config.dtype, device=io.device, seed=config.seed)
    strategy = strategy_of(state, group=io.group, arithmetic=arithmetic, num_flags=_FIRST_RANK + io.group.world)
    while state.step < total:
        started, micro_batches = time.monotonic(), config.order.micro_batches(state.step)
        samples = np.concatenate(micro_batches)
        words = torch.from_numpy(data.words_of(samples)).to(io.device)
        num_targets = data.num_targets(samples)

        # Forward and backward of this process's share; the gradient is that of the mean loss of the global batch.
        work = Work(data=data, micro_batches=micro_batches, num_targets=num_targets, step=state.step)
        is_stopped = io.is_stopped()
        try:
            loss = strategy.accumulate(work)

            # One sum over processes: gradients, loss, what was computed, and what any process wants.
            share = [micro_batches[index] for index in strategy.share(len(micro_batches))]
            tally = ledger.tally(share, step=state.step + 1)
            flags = _flags(io, loss, tally, is_stopped=is_stopped, step=state.step + 1)
            sums = strategy.sum(words, flags=flags)
        except PeerLostError:  # the state is that of the last step still
            if io.rescues is not None:
                save(config, state, io.rescues, world=io.group.world)
            raise
        norm = strategy.clip(words, max_norm=optim.MAX_NORM)
        _refuse_non_finite(sums, norm, step=state.step + 1)

        # The same step in every process.
        for parameters in state.optimizer.param_groups:
            parameters["lr"] = optim.lr_at(state.step, schedule=config.schedule)
        state.optimizer.step()
        strategy.clear(words)
        state.stepped(samples, sums[_TALLY:_FIRST_RANK], world=io.group.world)

        stopped, due = sums[_STOP] > 0, sums[_SAVE] > 0
        if stopped or (due and state.step < total):
            save(config, state, io.saves, world=io.group.world)
        seconds = time.monotonic() - started
        io.report(Step(step=state.step, loss=sums[_LOSS], num_samples=len(samples), seconds=seconds))
        if stopped and (is_stopped or io.is_called is None):
            return state.step >= total
        if (stopped or sums[_LEAVE] > 0) and state.step < total:
            if state.is_split and not stopped:  # no process has all of it, so the next group reads it from storage
                save(config, state, io.saves, world=io.group.world)
            raise RegroupError(f"the processes that train change after step {state.step}")
    return True


def _flags(io: Io, loss: float, tally: list[float], *, is_stopped: bool, step: int) -> list[float]:
    """Return what this process wants to be summed along with the gradients of a step."""
    is_due = io.cadence.is_due(step) and io.group.rank == 0
    is_called = io.is_called is not None and io.is_called()
    bad = [float(rank == io.group.rank and not _is_finite(loss)) for rank in range(io.group.world)]
    return [loss, float(is_stopped), float(is_due), float(is_called), *tally, *bad]


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")


def _refuse_non_finite(sums: list[float], norm: float, *, step: int) -> None:
    hint = "the model before this step is kept; lower spec.training.learningRate or check the data"
    bad = [rank for rank, flag in enumerate(sums[_FIRST_RANK:]) if flag]
    if bad:
        raise NonFiniteLossError(
            f"step {step}: the loss is not finite on rank {bad[0]}; {hint}", step=step, rank=bad[0]
        )
    if not _is_finite(norm):
        raise NonFiniteLossError(f"step {step}: the gradient is not finite; {hint}", step=step, rank=None)


def save(config: TrainConfig, state: TrainState, saves: Saves | None, *, world: int) -> None:
    """Hand the state to *saves* in a world of so many processes; nothing when that is None or no step is done yet."""
    if state.step == 0:
        return
    state.ledger.note_save(state.step)  # of whichever process saves
    tensors = state.gathered()
    if saves is None:
        return
    since = saves.committed.step if saves.committed is not None else 0
    saves.enclose(ledger.records(state.ledger, since=since))
    saves.save(
        tensors,
        state.meta(),
        step=state.step,
        total_steps=config.order.total_steps,
        world_size=world,
        samples_seen=config.order.samples_before(state.step),
    )
