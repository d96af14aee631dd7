"""Steps to progress: rate and remaining time."""

import os
import time
from dataclasses import dataclass, field

from bertjob_api.progress import Committed, Progress, Worker
from bertjob_trainer.group import Group
from bertjob_trainer.loop import Step

_WEIGHT = 0.1
"""Share of the newest step in the rate: about the last ten steps count."""


@dataclass(slots=True, kw_only=True)
class Meter:
    """Turns steps into progress reports."""

    group: Group
    total: int
    steps_per_epoch: int
    resumed_from_step: int | None
    seconds_per_sample: float | None = field(default=None, init=False)

    def progress(self, step: Step | None, *, committed: Committed | None) -> Progress:
        """Return the progress after *step*; None: before the first one."""
        if step is not None:
            self._measure(step)
        done = step.step if step is not None else self.resumed_from_step or 0
        rate = self.seconds_per_sample
        eta = None
        if step is not None and rate is not None:
            eta = round((self.total - done) * step.num_samples * rate)
        return Progress(
            rank=self.group.rank,
            world_size=self.group.world,
            step=done,
            total=self.total,
            epoch=done / self.steps_per_epoch,
            loss=step.loss if step is not None else None,
            samples_per_second=round(1 / rate, 3) if rate else None,
            eta_seconds=eta,
            gradient_bytes=step.sent_bytes if step is not None else None,
            resumed_from_step=self.resumed_from_step,
            last_checkpoint=committed,
            workers=(Worker(rank=self.group.rank, pid=os.getpid()),),
            updated=time.time(),
        )

    def _measure(self, step: Step) -> None:
        newest = step.seconds / step.num_samples
        old = self.seconds_per_sample
        self.seconds_per_sample = newest if old is None else (1 - _WEIGHT) * old + _WEIGHT * newest
