"""
What happened in a run so far: steps, evaluations, starts. It is part of the state, so it survives whatever the state survives.

It travels with each checkpoint, so of long runs only every so many steps are kept, and of very many starts the newest. Evaluations
are all kept: early stopping and the best checkpoint are decided by them, and how many there are is what the job asks for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from bertjob_trainer.evaluations import Evaluation

STEP: Final = "step"
EVALUATION: Final = "evaluation"
START: Final = "start"
_MOST_STEPS: Final = 2000
"""Steps that are recorded of a run: more than a picture has points."""
_MOST_STARTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing that happened."""

    kind: str
    """``STEP``, ``EVALUATION`` or ``START``."""
    step: int
    """Optimizer steps that the model had then."""
    time: float
    """Unix time in seconds."""
    values: Mapping[str, float]
    """Figures by name; only finite ones."""

    def to_json(self) -> dict[str, Any]:
        """Return one flat object."""
        return {"kind": self.kind, "step": self.step, "time": self.time, **self.values}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the record of a flat object."""
        own = ("kind", "step", "time")
        values = {key: float(number) for key, number in value.items() if key not in own}
        return cls(kind=str(value["kind"]), step=int(value["step"]), time=float(value["time"]), values=values)


class Course:
    """The records of a run in the order in which they happened; of each step at most one of a kind, but for starts."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: dict[tuple[str, int, float], Record] = {}
        self._evaluations: dict[int, Evaluation] = {}
        for record in records:
            self._put(record)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def records(self) -> tuple[Record, ...]:
        """Return all of it, oldest first."""
        return tuple(self._records.values())

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Return the metrics that were seen, oldest first, without the epoch that stands beside them."""
        return tuple(self._evaluations.values())

    def has_evaluation(self, step: int) -> bool:
        """Return whether the model of this step was evaluated."""
        return step in self._evaluations

    def stepped(self, step: int, *, total: int, now: float, values: Mapping[str, float]) -> bool:
        """Take the figures of a step and return whether they are kept: of long runs every so many steps are."""
        if step % -(-total // _MOST_STEPS) and step not in (1, total):
            return False
        self._put(Record(kind=STEP, step=step, time=now, values=_finite(values)))
        return True

    def evaluated(self, step: int, *, now: float, values: Mapping[str, float]) -> None:
        """Take the metrics of a step's model."""
        self._put(Record(kind=EVALUATION, step=step, time=now, values=_finite(values)))

    def started(self, step: int, *, now: float, values: Mapping[str, float]) -> None:
        """Take that processes began to train together; of very many starts the first and the newest stay."""
        starts = [key for key in self._records if key[0] == START]
        if len(starts) >= _MOST_STARTS:
            del self._records[starts[1]]
        self._put(Record(kind=START, step=step, time=now, values=_finite(values)))

    def to_json(self) -> list[dict[str, Any]]:
        """Return JSON values."""
        return [record.to_json() for record in self._records.values()]

    @classmethod
    def from_json(cls, value: Sequence[Mapping[str, Any]]) -> Self:
        """Return the course of JSON values."""
        return cls(Record.from_json(each) for each in value)

    def _put(self, record: Record) -> None:
        self._records[record.kind, record.step, record.time if record.kind == START else 0.0] = record
        if record.kind == EVALUATION:
            metrics = {name: value for name, value in record.values.items() if name != "epoch"}
            self._evaluations[record.step] = Evaluation(step=record.step, metrics=metrics)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
