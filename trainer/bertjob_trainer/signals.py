"""
What the processes of a run tell each other with each step: numbers that are summed along with the gradients. Pure.

One sum does for all of it, so that every process learns the same at the same step, at no cost of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from bertjob_trainer import ledger

_LOSS, _STOP, _SAVE, _LEAVE, _AGE, _TALLY = range(6)
_FIRST_RANK: Final = _TALLY + ledger.PARTS


class NonFiniteLossError(ValueError):
    """The loss or its gradient became inf or nan; training on would destroy the model."""

    def __init__(self, message: str, *, step: int, rank: int | None) -> None:
        self.step = step
        self.rank = rank
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What one process says, or the sum over all of them."""

    loss: float
    """Its share of the mean loss of the global batch."""
    stop: float
    """1: this process was asked to end."""
    save: float
    """1: its clock says save."""
    leave: float
    """1: it is called to another group."""
    age: float
    """Steps since the newest checkpoint that is committed, this one included; 0 from processes that do not save."""
    tally: tuple[float, ...]
    """What it computed, as ``ledger.tally`` gives it."""
    bad: tuple[float, ...]
    """By rank: 1 where the loss is not finite."""

    def flags(self) -> list[float]:
        """Return all of it as one list."""
        return [self.loss, self.stop, self.save, self.leave, self.age, *self.tally, *self.bad]

    @classmethod
    def of(cls, flags: Sequence[float]) -> Self:
        """Return what ``flags`` gave, after the sum."""
        return cls(
            loss=flags[_LOSS],
            stop=flags[_STOP],
            save=flags[_SAVE],
            leave=flags[_LEAVE],
            age=flags[_AGE],
            tally=tuple(flags[_TALLY:_FIRST_RANK]),
            bad=tuple(flags[_FIRST_RANK:]),
        )


def count(world: int) -> int:
    """Return how many numbers *world* processes sum."""
    return _FIRST_RANK + world


def bad_ranks(loss: float, *, rank: int, world: int) -> tuple[float, ...]:
    """Return ``Signals.bad`` of the process *rank* with this *loss*."""
    return tuple(float(each == rank and not is_finite(loss)) for each in range(world))


def is_finite(value: float) -> bool:
    """Return whether a number is neither infinite nor nan."""
    return abs(value) < float("inf")


def refuse_non_finite(sums: Signals, norm: float, *, step: int) -> None:
    """Raise NonFiniteLossError for a loss or a gradient's *norm* after which the model would be destroyed."""
    hint = "the model before this step is kept; lower spec.training.learningRate or check the data"
    bad = [rank for rank, flag in enumerate(sums.bad) if flag]
    if bad:
        raise NonFiniteLossError(
            f"step {step}: the loss is not finite on rank {bad[0]}; {hint}", step=step, rank=bad[0]
        )
    if not is_finite(norm):
        raise NonFiniteLossError(f"step {step}: the gradient is not finite; {hint}", step=step, rank=None)
