"""
The training loop, top to bottom.

The result of a step depends on seed, data and step alone: every process computes its share of the step's micro-batches, the
sums are the same for any number of processes (up to the order of additions), and every process takes the same optimizer step.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertjob_api.progress import Committed
from bertjob_trainer import evaluations, ledger, losses, optim, order
from bertjob_trainer.cadence import Cadence
from bertjob_trainer.data import Dataset
from bertjob_trainer.evaluations import Watch
from bertjob_trainer.group import Group, PeerLostError, RegroupError
from bertjob_trainer.hiding import Hiding, StepData
from bertjob_trainer.parallel.starting import strategy_of
from bertjob_trainer.parallel.strategy import Arithmetic, Loss, Work
from bertjob_trainer.state import TrainState

_LOSS, _STOP, _SAVE, _LEAVE, _TALLY = range(5)
_FIRST_RANK = _TALLY + ledger.PARTS
"""Flags summed with the gradients: the loss, processes asked to stop, processes whose clock says save, processes called to
another group, the tally of the samples, then one per rank that is 1 where the loss is not finite."""

_NO_ROWS: Final[NDArray[np.int64]] = np.zeros(0, dtype=np.int64)


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
        """Copy the state and commit the copy, in the background."""
        ...

    def copied(self) -> None:
        """Return once the newest save has its copy: the state may change from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What the loop needs to know; the same in every process."""

    order: order.Order
    schedule: optim.Schedule
    seed: int
    dtype: torch.dtype
    """Arithmetic of forward and backward."""
    loss: Loss = losses.classes
    """Outputs and targets to the loss, summed over the targets; several where it is a sum of means."""
    hiding: Hiding | None = None
    """Which tokens are hidden in each step; None: none are."""
    watch: Watch = field(default_factory=Watch)
    """When the held-out data is looked at, and what follows."""
    sums: torch.dtype = torch.float32
    """In which gradients are summed over processes."""


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
    evaluate: Callable[[], Mapping[str, float]] | None = None
    """Gives the metrics of the held-out data, the same in every process, all of which call it; None: never asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happened in one step."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean loss of the global batch."""
    num_samples: int
    num_tokens: int
    lr: float
    """Learning rate of the step."""
    seconds: float
    sent_bytes: int | None = None
    """Of gradients, by this process; None: not known."""


def train(config: TrainConfig, state: TrainState, data: Dataset, io: Io) -> bool:
    """
    Train until the end or until any process is asked to stop, and return whether the end was reached.

    The end is the last step, or the evaluation after which the job wants no more; stopped, the newest step is being committed.

    Raises:
        NonFiniteLossError: in every process, at the same step; the newest checkpoint is untouched.
        PeerLostError, RegroupError: a process is lost, or called to another group; the state is that of a whole step.

    """
    total = config.order.total_steps
    state.model.train()
    arithmetic = Arithmetic(loss=config.loss, dtype=config.dtype, device=io.device, seed=config.seed, sums=config.sums)
    strategy = strategy_of(state, group=io.group, arithmetic=arithmetic, num_flags=_FIRST_RANK + io.group.world)
    # An evaluation that the process before this one did not come to.
    if _evaluated(config, state, io):
        save(config, state, io.saves, world=io.group.world)
    while not is_over(config, state):
        started, micro_batches = time.monotonic(), config.order.micro_batches(state.step)
        samples = np.concatenate(micro_batches)
        inputs = StepData(data, micro_batches, hiding=config.hiding, key=_key(config, state.step))
        words = torch.from_numpy(_NO_ROWS if state.model.is_tied else inputs.words).to(io.device)

        # Forward and backward of this process's share; the gradient is that of the mean loss of the global batch.
        is_stopped = io.is_stopped()
        try:
            loss = strategy.accumulate(Work(data=inputs, step=state.step))

            # One sum over processes: gradients, loss, what was computed, and what any process wants.
            share = [micro_batches[index] for index in strategy.share(len(micro_batches))]
            tally = ledger.tally(share, step=state.step + 1)
            flags = _flags(io, loss, tally, is_stopped=is_stopped, step=state.step + 1)
            sums = strategy.sum(words, flags=flags)
        except PeerLostError:  # the state is that of the last step still
            _rescue(config, state, io)
            raise
        norm = strategy.clip(words, max_norm=optim.MAX_NORM)
        _refuse_non_finite(sums, norm, step=state.step + 1)

        # The same step in every process.
        _change(config, state, io)
        strategy.clear(words)
        state.stepped(samples, sums[_TALLY:_FIRST_RANK], world=io.group.world)

        # Evaluation, checkpoint, report; a process that is to end does not evaluate any more, the next one does.
        step = _noted(config, state, data, samples, loss=sums[_LOSS], seconds=time.monotonic() - started)
        stopped, due = sums[_STOP] > 0, sums[_SAVE] > 0
        leaves = (stopped or sums[_LEAVE] > 0) and state.step < total
        is_best = not leaves and _evaluated(config, state, io)
        if stopped or ((due or is_best) and state.step < total) or (leaves and state.is_split):  # split: nobody has all
            save(config, state, io.saves, world=io.group.world)
        io.report(replace(step, sent_bytes=strategy.sent_bytes))
        if stopped and (is_stopped or io.is_called is None):
            return is_over(config, state)
        if leaves:
            raise RegroupError(f"the processes that train change after step {state.step}")
    return True


def _key(config: TrainConfig, step: int) -> tuple[int, int, int]:
    """Return what decides which tokens are hidden in a step: seed, epoch and step."""
    return config.seed, config.order.epoch_of(step), step


def is_over(config: TrainConfig, state: TrainState) -> bool:
    """Return whether nothing more is to be trained."""
    reason = evaluations.why_over(config.watch, state.course.evaluations)
    return state.step >= config.order.total_steps or reason is not None


def _noted(
    config: TrainConfig, state: TrainState, data: Dataset, samples: order.Samples, *, loss: float, seconds: float
) -> Step:
    """Return what happened in the step just done, after its figures went into the course."""
    step = Step(
        step=state.step,
        loss=loss,
        num_samples=len(samples),
        num_tokens=data.num_tokens(samples),
        lr=state.optimizer.param_groups[0]["lr"],
        seconds=seconds,
    )
    values = {
        "epoch": step.step / config.order.steps_per_epoch,
        "loss": loss,
        "learningRate": step.lr,
        "samplesPerSecond": step.num_samples / seconds,
        "tokensPerSecond": step.num_tokens / seconds,
    }
    state.course.stepped(step.step, total=config.order.total_steps, now=time.time(), values=values)
    return step


def _evaluated(config: TrainConfig, state: TrainState, io: Io) -> bool:
    """Evaluate where that is due and not done, and return whether this model is now the best and must be kept."""
    if io.evaluate is None or not config.watch.is_due(state.step) or state.course.has_evaluation(state.step):
        return False
    try:
        metrics = io.evaluate()
    except PeerLostError:
        _rescue(config, state, io)
        raise
    evaluations.refuse_unknown(config.watch, metrics)
    values = {"epoch": state.step / config.order.steps_per_epoch, **metrics}
    state.course.evaluated(state.step, now=time.time(), values=values)
    state.model.train()
    return state.step > 0 and best_step(config, state) == state.step


def best_step(config: TrainConfig, state: TrainState) -> int | None:
    """Return the step of the model that would be published now; None: the newest, whatever its metrics."""
    if config.watch.best is None:
        return None
    found = evaluations.best(state.course.evaluations, config.watch.best)
    return found.step if found is not None else None


def _change(config: TrainConfig, state: TrainState, io: Io) -> None:
    """Take an optimizer step, once copies of the state before it are made: by now they are, mostly."""
    for saves in (io.saves, io.rescues):
        if saves is not None:
            saves.copied()
    for parameters in state.optimizer.param_groups:
        parameters["lr"] = optim.lr_at(state.step, schedule=config.schedule)
    state.optimizer.step()


def _rescue(config: TrainConfig, state: TrainState, io: Io) -> None:
    """Save what would be lost with this process, alone: others are gone, so nothing is gathered without need."""
    if io.rescues is not None:
        save(config, state, io.rescues, world=io.group.world)


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
    best = best_step(config, state)
    saves.save(
        tensors,
        {**state.meta(), "pinned": [] if best is None else [best]},
        step=state.step,
        total_steps=config.order.total_steps,
        world_size=world,
        samples_seen=config.order.samples_before(state.step),
    )
