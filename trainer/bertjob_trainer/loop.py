"""
The training loop, top to bottom.

The result of a step depends on seed, data and step alone: every process computes its share of the step's micro-batches, the
sums are the same for any number of processes (up to the order of additions), and every process takes the same optimizer step.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from bertjob_trainer import evaluations, ledger, losses, optim, order, saving, signals
from bertjob_trainer.cadence import Cadence
from bertjob_trainer.data import Dataset
from bertjob_trainer.evaluations import Watch
from bertjob_trainer.group import Group, PeerLostError, RegroupError
from bertjob_trainer.hiding import Hiding, StepData
from bertjob_trainer.parallel.starting import strategy_of
from bertjob_trainer.parallel.strategy import Arithmetic, Loss, Work
from bertjob_trainer.saving import Purpose, Saves, best_step, save
from bertjob_trainer.signals import Signals
from bertjob_trainer.state import TrainState

_NO_ROWS: Final[NDArray[np.int64]] = np.zeros(0, dtype=np.int64)


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

    def purpose(self, world: int) -> Purpose:
        """Return what a checkpoint that *world* processes save says of this run."""
        return Purpose(order=self.order, watch=self.watch, world=world)


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
    strategy = strategy_of(state, group=io.group, arithmetic=arithmetic, num_flags=signals.count(io.group.world))
    # An evaluation that the process before this one did not come to.
    if _evaluated(config, state, io):
        save(state, io.saves, config.purpose(io.group.world))
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
            said = _signals(io, loss, tally, is_stopped=is_stopped, step=state.step + 1)
            sums = Signals.of(strategy.sum(words, flags=said.flags()))
        except PeerLostError:  # the state is that of the last step still
            _rescue(config, state, io)
            raise
        norm = strategy.clip(words, max_norm=optim.MAX_NORM)
        signals.refuse_non_finite(sums, norm, step=state.step + 1)

        # The same step in every process.
        for parameters in state.optimizer.param_groups:
            parameters["lr"] = optim.lr_at(state.step, schedule=config.schedule)
        state.optimizer.step()
        strategy.clear(words)
        state.stepped(samples, sums.tally, world=io.group.world, committed=state.step + 1 - int(sums.age))

        # Evaluation, checkpoint, report; a process that is to end does not evaluate any more, the next one does.
        step = _noted(config, state, data, samples, loss=sums.loss, seconds=time.monotonic() - started)
        stopped, due = sums.stop > 0, sums.save > 0
        leaves = (stopped or sums.leave > 0) and state.step < total
        is_best = not leaves and _evaluated(config, state, io)
        if stopped or ((due or is_best) and state.step < total) or (leaves and state.is_split):  # split: nobody has all
            save(state, io.saves, config.purpose(io.group.world))
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
    return state.step > 0 and best_step(state, config.watch) == state.step


def _rescue(config: TrainConfig, state: TrainState, io: Io) -> None:
    """Save what would be lost with this process, alone: others are gone, so nothing is gathered without need."""
    if io.rescues is not None:
        save(state, io.rescues, config.purpose(io.group.world))


def _signals(io: Io, loss: float, tally: list[float], *, is_stopped: bool, step: int) -> Signals:
    """Return what this process wants to be summed along with the gradients of a step."""
    rank, is_called = io.group.rank, io.is_called is not None and io.is_called()
    committed = saving.committed_step(io.saves) if io.saves is not None else 0
    return Signals(
        loss=loss,
        stop=float(is_stopped),
        save=float(io.cadence.is_due(step) and rank == 0),
        leave=float(is_called),
        age=float(step - committed) if rank == 0 else 0.0,
        tally=tuple(tally),
        bad=signals.bad_ranks(loss, rank=rank, world=io.group.world),
    )
