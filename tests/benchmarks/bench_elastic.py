"""
What kills cost: goodput and recovery, beside stock torchrun on the same schedule. ``make bench-elastic``.

Computing is a sleep, so that nodes which share a few cores do not slow each other down; everything else is real: processes,
store, rendezvous, gloo, checkpoints. ``--small`` is for trying. ``--picture`` draws docs/elastic.svg instead of measuring.

Goodput is committed samples over what the undisturbed run of the same setting trains in that time; a killed worker's node counts as
available throughout.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.elastic import legs, picture
from benchmarks.elastic.legs import BATCH, Leg, Plan

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "bench" / "elastic.json"
PICTURE = ROOT / "docs" / "elastic.svg"
PHASES = ("detect", "place", "form", "restore", "first step")
GOAL_GOODPUT, GOAL_RECOVERY_S, GOAL_RATIO = 0.97, 1.0, 10.0
Row = dict[str, Any]


def measured(plan: Plan, folder: Path) -> list[Row]:
    """Return a row for each figure."""
    calm, killed = (legs.ours(_new(folder, f"ours-{kills}"), plan, kills=kills) for kills in (False, True))
    stock_calm, stock = (legs.stock(folder / f"stock-{kills}", plan, kills=kills) for kills in (False, True))
    assert killed.recoveries, "no survivor told of a recovery; the logs were lost"
    seconds = [each["seconds"] for each in killed.recoveries]
    theirs = stock.stood_still()
    what = f"{plan.nodes} nodes, a kill every {plan.every_s:g} s for {plan.seconds:g} s, steps of {plan.step_s:g} s (sleep)"
    # Ours from the last step before the kill on, so longer than what is taken for torchrun; progress is told too rarely for less.
    ratio = statistics.median(theirs) / statistics.median(seconds) if theirs else None
    rows = [
        _row(
            "goodput",
            what,
            killed.rate() / calm.rate(),
            "",
            goal=GOAL_GOODPUT,
            torchrun=stock.rate() / stock_calm.rate(),
        ),
        _row(
            "recovery-median",
            "survivors: last step to the end of the next",
            statistics.median(seconds),
            "s",
            goal=GOAL_RECOVERY_S,
            torchrun=statistics.median(theirs) if theirs else None,
        ),
        _row("recovery-p95", "the same", _p95(seconds), "s", goal=None, torchrun=_p95(theirs) if theirs else None),
        *(
            _row(f"recovery-{phase.replace(' ', '-')}", "median of this phase", _median(killed, phase), "s", goal=None)
            for phase in PHASES
        ),
    ]
    if ratio is not None:
        rows.append(_row("recovery-ratio", "torchrun's median time over ours", ratio, "x", goal=GOAL_RATIO))
    return rows


def _new(folder: Path, name: str) -> Path:
    found = folder / name
    found.mkdir()
    return found


def _median(leg: Leg, phase: str) -> float:
    return statistics.median(each[phase] for each in leg.recoveries)


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * (len(values) - 1)))]


def _row(  # one figure: what it is, what is wanted of it, and what the peer did
    name: str, what: str, value: float, unit: str, *, goal: float | None, torchrun: float | None = None
) -> Row:
    return {
        "id": name,
        "what": what,
        "value": value,
        "unit": unit,
        "better": "lower" if unit == "s" else "higher",
        "goal": goal,
        "peers": {} if torchrun is None else {"torchrun": torchrun},
        "roof": None,
    }


def drawn(plan: Plan, folder: Path) -> str:
    """Return the picture of a training through a kill, a lost node and two that come, beside one that nothing happens to."""
    calm = legs.ours(_new(folder, "calm"), plan, kills=False)
    leg = legs.changing(_new(folder, "changing"), plan)
    panels = (
        ("training loss", _curve(leg, 2), _curve(calm, 2)),
        ("samples per second", _rates(leg), _rates(calm)),
    )
    events = [(at - leg.points[0][0], what) for at, what in leg.events]
    caption = f"{plan.nodes} nodes through kills and resizes (computing is a sleep of {plan.step_s:g} s a step)"
    return picture.svg(panels, events, caption=caption)


def _curve(leg: Leg, column: int) -> list[tuple[float, float]]:
    start = leg.points[0][0]
    return [(point[0] - start, float(point[column])) for point in leg.points if point[column] is not None]


def _rates(leg: Leg, *, window_s: float = 3.0) -> list[tuple[float, float]]:
    """Return the samples per second over the last seconds before each point."""
    start, found = leg.points[0][0], []
    for at, step, _ in leg.points:
        then, before, _ = next(point for point in leg.points if point[0] >= at - window_s)
        if at - then > window_s / 2:
            found.append((at - start, (step - before) * BATCH / (at - then)))
    return found


def main() -> None:
    """Measure, print a table and write it as JSON, or draw."""
    parser = argparse.ArgumentParser(description="Goodput and recovery under kills.")
    parser.add_argument("--small", action="store_true", help="two nodes, two kills: to see that it works")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between kills")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--picture", action="store_true", help=f"draw {PICTURE.relative_to(ROOT)} instead")
    options = parser.parse_args()
    plan = Plan(nodes=options.nodes, step_s=0.25, every_s=options.every, seconds=60 * options.minutes)
    if options.small:
        plan = Plan(nodes=2, step_s=0.25, every_s=20.0, seconds=40.0)
    if options.picture:
        plan = Plan(nodes=plan.nodes, step_s=plan.step_s, every_s=20.0, seconds=200.0)
    with tempfile.TemporaryDirectory(prefix="bertjob-bench-") as folder:
        if options.picture:
            PICTURE.write_text(drawn(plan, Path(folder)))
            sys.stdout.write(f"{PICTURE}\n")
            return
        rows = measured(plan, Path(folder))
    for row in rows:
        goal = "" if row["goal"] is None else f"   (goal {row['goal']:g})"
        peer = "".join(f"   {name} {value:.3g}" for name, value in row["peers"].items())
        sys.stdout.write(f"{row['id']:22} {row['value']:8.3g} {row['unit']:2}{goal}{peer}   {row['what']}\n")
    machine = {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "computing": "replaced by a sleep",
        "time": time.time(),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
