"""What INT8 costs one trained model: every candidate of one task and seed beside its FP32, as the optimize step judged it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

FP32: Final = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One candidate, measured."""

    value: float
    """The metric on the held-out data."""
    speedup: float
    """Over the fastest FP32 engine at the data's lengths."""
    size_bytes: int
    """Of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One task with one seed."""

    task: str
    seed: int
    metric: str
    fp32: Candidate
    candidates: Mapping[str, Candidate]
    failures: Mapping[str, str]
    """Why candidates are missing."""
    chosen: str
    """The candidate that the gate shows: the fastest that passes, or what came closest."""

    @classmethod
    def of(cls, task: str, seed: int, evaluation: Mapping[str, Any]) -> Self:
        """Return the piece of what the optimize step wrote as ``evaluation.json``."""
        rows = {row["method"]: row for row in evaluation["candidates"]}
        fp32 = _candidate(rows[FP32])
        judged = {name: row for name, row in rows.items() if not name.startswith(FP32)}
        return cls(
            task=task,
            seed=seed,
            metric=evaluation["evaluation"]["fp32"]["metric"],
            fp32=fp32,
            candidates={name: _candidate(row) for name, row in judged.items() if row["failure"] is None},
            failures={name: str(row["failure"]) for name, row in judged.items() if row["failure"] is not None},
            chosen=str(evaluation["evaluation"]["method"]),
        )

    def drop(self, name: str) -> float:
        """Return how much of the metric a candidate loses, in points of 100."""
        return 100 * (self.fp32.value - self.candidates[name].value)

    def smaller(self, name: str) -> float:
        """Return FP32's bytes over those of a candidate."""
        return self.fp32.size_bytes / self.candidates[name].size_bytes


def _candidate(row: Mapping[str, Any]) -> Candidate:
    figures = row["figures"]
    speedup = 1.0 if figures is None or figures["speedup"] is None else figures["speedup"]["value"]
    return Candidate(
        value=float(row["value"]), speedup=float(speedup), size_bytes=int(row["measured"]["weights_bytes"])
    )


def read(path: Path, *, task: str, seed: int) -> Piece:
    """Return the piece of the file ``evaluation.json``."""
    return Piece.of(task, seed, json.loads(path.read_text(encoding="utf-8")))
