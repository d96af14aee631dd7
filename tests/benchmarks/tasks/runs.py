"""One finished run of one side, kept as a file, so that the benchmark can be done in pieces."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

Side = Literal["bertjob", "trainer"]
SIDES: Final[tuple[Side, ...]] = ("bertjob", "trainer")
NAMES: Final[Mapping[Side, str]] = {"bertjob": "BertJob", "trainer": "transformers.Trainer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run gave."""

    task: str
    side: Side
    seed: int
    budget: str
    """Runs are compared where this is the same."""
    steps: int
    seconds: float
    """From the first step's begin to the last one's end; reading, encoding and evaluation are left out on both sides."""
    metrics: Mapping[str, float]
    """Of the held-out data."""


def keep(folder: Path, run: Run) -> None:
    """Write a run below *folder*; one of the same task, side, seed and budget is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.task}-{run.side}-{run.seed}-{run.budget}.json"
    path.write_text(json.dumps(asdict(run), indent=2) + "\n", encoding="utf-8")


def kept(folder: Path, task: str, *, budget: str) -> list[Run]:
    """Return the runs of one task with this budget, those of any seed and side, by side and seed."""
    found = [Run(**json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob(f"*-{budget}.json")]
    return sorted((run for run in found if run.task == task), key=lambda run: (run.side, run.seed))


def tell(who: str, step: int, total: int, loss: float | None = None) -> None:
    """Say how far a run is, every tenth of it."""
    if total and (step * 10) // total > ((step - 1) * 10) // total:
        note = "" if loss is None else f", loss {loss:.4f}"
        sys.stderr.write(f"{who}: step {step} of {total}{note}\n")
