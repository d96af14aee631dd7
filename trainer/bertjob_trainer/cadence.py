"""How often a checkpoint is saved: every so many steps, or every so many seconds."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_SECONDS: Final = {"h": 3600, "m": 60, "s": 1}


@dataclass(slots=True)
class Cadence:
    """
    Answers once a step whether a checkpoint is due.

    Steps give the same answer in every process. Seconds do not: one process decides and tells the others.
    """

    steps: int | None
    """None: seconds count."""
    seconds: float | None
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def is_due(self, step: int) -> bool:
        """Return whether to save after *step* steps; a True by the clock starts the next interval."""
        if self.steps is not None:
            return step % self.steps == 0
        assert self.seconds is not None
        if self.clock() - self._last < self.seconds:
            return False
        self._last = self.clock()
        return True


def parse(text: str, *, clock: Callable[[], float] = time.monotonic) -> Cadence:
    """Return the cadence in ``spec.training.checkpoint.every``: "500 steps", "5m" or "1h30m"; raises ValueError for 0."""
    steps = re.fullmatch(r"([0-9]+) steps", text)
    if steps:
        cadence = Cadence(steps=int(steps.group(1)), seconds=None, clock=clock)
    else:
        parts = re.findall(r"([0-9]+)([hms])", text)
        cadence = Cadence(steps=None, seconds=sum(int(number) * _SECONDS[unit] for number, unit in parts), clock=clock)
    if not (cadence.steps or cadence.seconds):
        raise ValueError(f"spec.training.checkpoint.every: got {text!r}, expected at least 1 step or 1s")
    return cadence
