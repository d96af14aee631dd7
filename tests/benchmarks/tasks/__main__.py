"""
What models learn on real data, and how fast, beside ``transformers.Trainer`` with the same budget. ``make bench-tasks``.

Every run is kept, so that the benchmark can be done in pieces; what is kept with the same budget is not run again.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.tasks import ours, runs, setting, verdict
from benchmarks.tasks.runs import SIDES, Run, Side
from benchmarks.tasks.verdict import Compared
from benchmarks.tasks.works import WORKS, Prepared
from support.benching import write

from bertjob_tasks.errors import DataError
from bertjob_trainer.machine import Machine

DATA_ENV: Final = "BERTJOB_DATA"
KEPT: Final = ours.KEPT
PAGE: Final = Path(__file__).parents[3] / "docs" / "numbers.md"


def main() -> int:
    """Run what is asked for, print the table of all that is kept, and write it as JSON."""
    given = _parser().parse_args()
    if (root := os.environ.get(DATA_ENV)) is None:
        sys.stdout.write(f"skipped: {DATA_ENV} is not set, expected the folder with the data sets; set it\n")
        return 0
    machine = setting.machine(given.precision)
    try:
        found, budgets = _compared(given, Path(root), machine)
    except DataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if not found:
        sys.stdout.write("no task has a seed that both sides have run: nothing to tell\n")
        return 1 if given.write_docs else 0
    about = setting.about(machine)
    sys.stdout.write(f"{verdict.table(found)}\n")
    sys.stdout.write(f"{write('tasks', verdict.rows(found), machine=about)}\n")
    return _documented(found, budgets, about, rows=given.rows) if given.write_docs else 0


def _compared(given: argparse.Namespace, root: Path, machine: Machine) -> tuple[list[Compared], list[str]]:
    """Return what is known of the tasks that are asked for, after running what is missing, and the budget of each."""
    found: list[Compared] = []
    budgets = []
    for name in given.tasks:
        work, seeds = WORKS[name].capped(given.rows), sorted(set(given.seeds))
        try:
            prepared = setting.prepared(name, work, root, machine)
        except FileNotFoundError as error:
            expected = f"expected the data set below {DATA_ENV}"
            sys.stdout.write(f"{name}: skipped, {error.filename} does not exist; {expected}\n")
            continue
        if not given.gather:
            _run_missing(prepared, machine, seeds=seeds, again=given.again)
        kept = [run for run in runs.kept(KEPT, name, budget=prepared.budget) if run.seed in seeds]
        found += verdict.compare(kept, title=work.title, metrics=work.metrics)
        budgets.append(_budget_of(prepared, kept))
    return found, budgets


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench-tasks", description="Compare what is learnt with transformers.Trainer."
    )
    parser.add_argument("--tasks", nargs="+", choices=WORKS, default=list(WORKS), help="which; all unless given")
    parser.add_argument("--seeds", nargs="+", type=_seed, default=[1, 2, 3], help="which seeds, as in 1 2 3")
    parser.add_argument("--rows", type=_rows, help="train on so many rows at most, to try the benchmark")
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), default="auto", help="arithmetic of both sides"
    )
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--again", action="store_true", help="run what is kept once more")
    todo.add_argument("--gather", action="store_true", help="run nothing, tell what is kept")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table into docs/{PAGE.name}")
    return parser


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"got {number}, expected 0 to {2**31 - 1}")
    return number


def _rows(text: str) -> int:
    number = int(text)
    if number < 8:
        raise argparse.ArgumentTypeError(f"got {number}, expected 8 at least")
    return number


def _run_missing(prepared: Prepared, machine: Machine, *, seeds: Sequence[int], again: bool) -> None:
    """Run each seed on each side, and keep what came out; a seed's two runs follow each other."""
    done = {(run.side, run.seed) for run in runs.kept(KEPT, prepared.name, budget=prepared.budget)}
    for seed in seeds:
        for side in SIDES if seed % 2 else reversed(SIDES):  # so that neither always runs on the warmer machine
            if again or (side, seed) not in done:
                run = _run(side, prepared, seed, machine)
                runs.keep(KEPT, run)
                told = ", ".join(f"{key} {value:.4f}" for key, value in run.metrics.items())
                sys.stderr.write(f"{run.task}, seed {seed}, {runs.NAMES[side]}: {run.seconds:.1f} s, {told}\n")


def _run(side: Side, prepared: Prepared, seed: int, machine: Machine) -> Run:
    if side == "bertjob":
        return ours.train(prepared, seed=seed, machine=machine, models=ours.MODELS)
    from benchmarks.tasks import peer  # noqa: PLC0415  # seconds of importing, only where it runs

    return peer.train(prepared, seed=seed, machine=machine)


def _budget_of(prepared: Prepared, kept: Sequence[Run]) -> str:
    """Return the budget of a work as a sentence for people."""
    spec, examples = prepared.job.spec, prepared.examples
    training = spec.training
    return (
        f"{prepared.work.title}: {spec.model.source}, {len(examples.train):,} training inputs of at most "
        f"{spec.data.max_sequence_length} tokens, {examples.validation.features.num_items:,} held out, epochs {training.epochs}, "
        f"batch {training.batch_size}, {max((run.steps for run in kept), default=0)} steps, learning rate "
        f"{training.learning_rate:g}, warm-up {training.warmup_ratio:g}, weight decay {training.weight_decay:g}"
    )


def _documented(
    found: Sequence[Compared], budgets: Sequence[str], about: Mapping[str, Any], *, rows: int | None
) -> int:
    """Write the page, but only of a whole run; return the exit code."""
    missing = sorted(set(WORKS) - {each.task for each in found if each.verdict != "open"})
    if rows is not None or missing:
        why = f"rows are capped at {rows}" if rows is not None else f"{', '.join(missing)} lack {verdict.SEEDS} seeds"
        sys.stderr.write(f"error: docs/{PAGE.name} is not written: {why}; run all tasks and seeds without --rows\n")
        return 1
    machine = {"CPUs": os.cpu_count(), **about}
    PAGE.write_text(verdict.page(found, budgets, machine=machine), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
