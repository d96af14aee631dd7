"""
What kills cost: goodput and recovery, beside stock torchrun on the same schedule. ``make bench-elastic``.

Computing is a sleep, so that nodes which share a few cores do not slow each other down; everything else is real: processes,
store, rendezvous, gloo, checkpoints. ``--small`` is for trying, ``--side`` runs one side alone. ``--picture`` draws docs/elastic.svg
instead of measuring.

Goodput is committed samples over what the undisturbed run of the same setting trains in that time; a killed worker's node counts as
available throughout.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.elastic import legs, picture, timeline
from benchmarks.elastic.legs import Leg, Plan
from support import benching
from support.benching import Row, row

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "elastic.svg"
PHASES = ("detect", "place", "form", "restore", "first step")
GOAL_GOODPUT, GOAL_RECOVERY_S, GOAL_RATIO = 0.97, 1.0, 10.0
SIDES = ("bertjob", "torchrun")


def measured(plan: Plan, folder: Path, *, sides: Sequence[str]) -> list[Row]:
    """Return a row for each figure that these sides give."""
    rows, standstills = [], {}
    if "bertjob" in sides:
        calm, killed = (legs.ours(_new(folder, f"ours-{kills}"), plan, kills=kills) for kills in (False, True))
        assert killed.recoveries, "no survivor told of a recovery; the logs were lost"
        standstills["bertjob"] = [each["seconds"] for each in killed.recoveries]
        _tell("BertJob", killed, plan)
        rows += _ours(plan, calm, killed)
    if "torchrun" in sides:
        calm, killed = (legs.stock(folder / f"stock-{kills}", plan, kills=kills) for kills in (False, True))
        standstills["torchrun"] = killed.stood_still()
        _tell("torchrun", killed, plan)
        rows += _theirs(plan, calm, killed)
    if all(standstills.get(side) for side in SIDES):
        # Ours from the last step before the kill on, so longer than what is taken for torchrun; it tells progress too rarely for less.
        theirs, ours = (statistics.median(standstills[side]) for side in ("torchrun", "bertjob"))
        rows.append(
            row("recovery-ratio", "torchrun's median standstill over ours", theirs / ours, "x", goal=GOAL_RATIO)
        )
    return rows


def _ours(plan: Plan, calm: Leg, killed: Leg) -> list[Row]:
    seconds = [each["seconds"] for each in killed.recoveries]
    what = "survivors: last step to the end of the next"
    return [
        row("goodput", f"goodput, {plan.what}", killed.rate() / calm.rate(), "", goal=GOAL_GOODPUT),
        row(
            "recovery-median", f"{what}, median", statistics.median(seconds), "s", better="lower", goal=GOAL_RECOVERY_S
        ),
        row("recovery-p95", f"{what}, 95 %", _p95(seconds), "s", better="lower"),
        *(
            row(f"recovery-{phase.replace(' ', '-')}", f"{phase}: median", _median(killed, phase), "s", better="lower")
            for phase in PHASES
        ),
    ]


def _theirs(plan: Plan, calm: Leg, killed: Leg) -> list[Row]:
    found = [row("torchrun-goodput", f"torchrun's goodput, {plan.what}", killed.rate() / calm.rate(), "")]
    theirs = killed.stood_still()
    if theirs:
        seconds = statistics.median(theirs)
        found.append(row("torchrun-recovery", "torchrun: kill to a new step, median", seconds, "s", better="lower"))
    return found


def _tell(who: str, leg: Leg, plan: Plan) -> None:
    """Print what happened, as it happened."""
    sys.stdout.write(f"{who}: {len(leg.recoveries or leg.stood_still())} recoveries\n")
    sys.stdout.write("".join(f"{line}\n" for line in timeline.lines(leg, every_s=plan.every_s / 4)))
    sys.stdout.flush()


def _new(folder: Path, name: str) -> Path:
    found = folder / name
    found.mkdir()
    return found


def _median(leg: Leg, phase: str) -> float:
    return statistics.median(each[phase] for each in leg.recoveries)


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * (len(values) - 1)))]


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


def _rates(leg: Leg) -> list[tuple[float, float]]:
    start = leg.points[0][0]
    return [(at - start, rate) for at, rate in timeline.rates(leg, window_s=3.0)]


def planned(options: argparse.Namespace) -> Plan:
    """Return what is done."""
    if options.picture:
        every = 8.0 if options.small else 20.0
        return Plan(nodes=2 if options.small else options.nodes, step_s=0.25, every_s=every, seconds=20 * every)
    if options.small:
        return Plan(nodes=2, step_s=0.25, every_s=20.0, seconds=40.0)
    return Plan(nodes=options.nodes, step_s=0.25, every_s=options.every, seconds=60 * options.minutes)


def main() -> None:
    """Measure, print a table and write it as JSON, or draw."""
    parser = argparse.ArgumentParser(description="Goodput and recovery under kills.")
    parser.add_argument("--small", action="store_true", help="two nodes, two kills: to see that it works")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between kills")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long kills go on (default: %(default)g)")
    parser.add_argument("--side", choices=SIDES, help="measure one side; figures of the other that stand there stay")
    parser.add_argument(
        "--picture", type=Path, nargs="?", const=PICTURE, help="draw this file instead (docs/elastic.svg)"
    )
    options = parser.parse_args()
    plan = planned(options)
    with tempfile.TemporaryDirectory(prefix="bertjob-bench-") as folder:
        if options.picture:
            options.picture.write_text(drawn(plan, Path(folder)))
            sys.stdout.write(f"{options.picture}\n")
            return
        rows = measured(plan, Path(folder), sides=[options.side] if options.side else SIDES)
    machine = {"load": os.getloadavg()[0], "computing": "replaced by a sleep"}
    benching.write("elastic", rows, machine=machine, is_part=options.side is not None)


if __name__ == "__main__":
    main()
