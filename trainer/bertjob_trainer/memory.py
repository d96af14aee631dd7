"""What a worker keeps from one round to the next, so that only new ones read and build anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bertjob_trainer.checkpoint import Checkpoints
from bertjob_trainer.inputs import Examples
from bertjob_trainer.recovery import Recovery
from bertjob_trainer.state import TrainState


def _nothing() -> None:
    """Save nothing: there is nothing yet."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """Everything that is worth keeping; empty in a new worker."""

    is_called: Callable[[], bool] | None = None
    """Whether this worker is called to another round; None: it ends with its first one."""
    is_warming: bool = False
    """Whether only what needs no other process is to be done now: inputs, examples, the model before the first step."""
    is_spare: bool = False
    """Whether the model is left out of that: no process has died yet whose place this one takes."""
    digests: Mapping[str, str] | None = None
    examples: Examples | None = None
    checkpoints: Checkpoints | None = None
    state: TrainState | None = None
    is_whole: bool = False
    """Whether ``state`` is that of a step: False before it is read, and while another process's is written over it."""
    is_mixed: bool = False
    """Whether writing another state over ``state`` broke off: its weights are of no step, not even of the start."""
    rescue: Callable[[], None] = _nothing
    """Commits the state; called when this worker is stopped between two rounds."""
    recovery: Recovery = field(default_factory=Recovery)
