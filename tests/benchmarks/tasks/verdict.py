"""
What runs of both sides say: figures, a table, and a verdict.

Ours passes when the mean over seeds is not below the peer's mean by more than the peer's own range from seed to seed.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from benchmarks.tasks.runs import NAMES, SIDES, Run, Side
from support.benching import Row, row

Verdict = Literal["passed", "failed", "open"]
SEEDS: Final = 3
"""Fewer seeds tell no range."""
COLUMNS: Final = (
    "data",
    "metric",
    "BertJob",
    "Trainer",
    "difference",
    "allowed",
    "verdict",
    "BertJob s",
    "Trainer s",
    "faster",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One metric of one task, over the seeds that both sides have run."""

    task: str
    title: str
    metric: str
    seeds: tuple[int, ...]
    values: Mapping[Side, tuple[float, ...]]
    """(seeds,)."""
    seconds: Mapping[Side, tuple[float, ...]]
    """(seconds,)."""

    @property
    def difference(self) -> float:
        """Return our mean less the peer's."""
        return statistics.fmean(self.values["bertjob"]) - statistics.fmean(self.values["trainer"])

    @property
    def allowed(self) -> float:
        """Return the peer's range from seed to seed."""
        return max(self.values["trainer"]) - min(self.values["trainer"])

    @property
    def verdict(self) -> Verdict:
        """Return whether ours is good enough; open: too few seeds."""
        if len(self.seeds) < SEEDS:
            return "open"
        return "passed" if self.difference >= -self.allowed else "failed"

    @property
    def faster(self) -> float:
        """Return the median of the peer's time over ours, each pair of the same seed."""
        pairs = zip(self.seconds["trainer"], self.seconds["bertjob"], strict=True)
        return statistics.median(theirs / mine for theirs, mine in pairs)


def compare(runs: Sequence[Run], *, title: str, metrics: Sequence[str]) -> list[Compared]:
    """Return what runs of one task with one budget say of each metric; nothing where no seed was run on both sides."""
    by_side = {side: {run.seed: run for run in runs if run.side == side} for side in SIDES}
    seeds = tuple(sorted(by_side["bertjob"].keys() & by_side["trainer"].keys()))
    if not seeds:
        return []
    chosen = {side: [by_side[side][seed] for seed in seeds] for side in SIDES}
    return [
        Compared(
            task=chosen["bertjob"][0].task,
            title=title,
            metric=metric,
            seeds=seeds,
            values={side: tuple(run.metrics[metric] for run in found) for side, found in chosen.items()},
            seconds={side: tuple(run.seconds for run in found) for side, found in chosen.items()},
        )
        for metric in metrics
    ]


def rows(found: Sequence[Compared]) -> list[Row]:
    """Return the figures: of each metric the difference, whose goal is that it is not below the range, and of each task the time."""
    figures = [
        row(
            f"{each.task}-{each.metric}",
            f"{each.metric} less the Trainer's, {each.title}, {len(each.seeds)} seeds",
            each.difference,
            "",
            goal=None if each.verdict == "open" else 0.0 - each.allowed,
            peers={NAMES[side]: statistics.fmean(each.values[side]) for side in SIDES},
        )
        for each in found
    ]
    once = {each.task: each for each in found}.values()
    return figures + [
        row(
            f"{each.task}-speedup",
            f"times faster than the Trainer, {each.title}",
            each.faster,
            "x",
            peers={f"{NAMES[side]}, seconds": statistics.median(each.seconds[side]) for side in SIDES},
        )
        for each in once
    ]


def table(found: Sequence[Compared]) -> str:
    """Return a Markdown table, a line for each metric; values are means, with the least and the greatest."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *map(_cells, found)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(each: Compared) -> tuple[str, ...]:
    return (
        each.title,
        each.metric,
        *(_spread(each.values[side]) for side in SIDES),
        f"{each.difference:+.4f}",
        f"{0.0 - each.allowed:+.4f}",
        each.verdict if each.verdict != "open" else f"open, {len(each.seeds)} of {SEEDS} seeds",
        *(f"{statistics.median(each.seconds[side]):.0f}" for side in SIDES),
        f"{each.faster:.2f} x",
    )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def page(found: Sequence[Compared], budgets: Sequence[str], *, machine: Mapping[str, Any]) -> str:
    """Return the page for people: what was compared, how, and the table."""
    seeds = ", ".join(str(seed) for seed in sorted({seed for each in found for seed in each.seeds}))
    told = ", ".join(f"{key} {value}" for key, value in machine.items())
    return _PAGE.format(
        table=table(found), budgets="\n".join(f"- {line}" for line in budgets), machine=told, seeds=seeds
    )


_PAGE: Final = """# Numbers on real data

BertJob's trainer beside `transformers.Trainer`: the same rows, model, epochs, batch size, learning rate, warm-up, lengths and
arithmetic, on the same machine. Everything else is each one's own way: how batches are drawn and padded, how words are hidden, how
new weights begin. `make bench-tasks` makes this page with `ARGS=--write-docs`; the data are public sets below `$BERTJOB_DATA`.

{table}
Values are means over the seeds {seeds} of the held-out data, with the least and the greatest in brackets, judged by the same code on both
sides. *Passed*: our mean is not below the Trainer's mean by more than what is *allowed*, the Trainer's own range from seed to seed.
Seconds are medians from the first training step to the last; reading, encoding and evaluation are left out on both sides. *Faster* is
the median of the ratios of runs with the same seed.

Budgets:

{budgets}

Machine: {machine}.
"""
