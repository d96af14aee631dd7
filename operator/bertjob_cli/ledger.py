"""``bertjob ledger``: which samples a model was trained on, and whether two runs trained on the same ones."""

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bertjob_cli import extras

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertjob_trainer.ledger import Entry

EQUAL, DIFFERENT = 0, 1
_SHOWN: Final = 8
"""Samples of a step that are printed."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ledger",
        help="which samples a model was trained on",
        description="Read the ledger that training keeps in storage: the samples of every step that the model contains.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    place = "folder or s3:// URI of a run, or of a job with one run"
    show = actions.add_parser("show", help="every step, its processes and samples", description="Show a run's ledger.")
    show.add_argument("run", metavar="RUN", help=place)
    show.set_defaults(main=_show)
    diff = actions.add_parser(
        "diff",
        help="whether two runs trained on the same samples",
        description="Compare two runs step by step. Exit code 0: the same samples in the same order; 1: they differ.",
    )
    diff.add_argument("one", metavar="A", help=place)
    diff.add_argument("other", metavar="B", help=place)
    diff.set_defaults(main=_diff)


def _show(options: argparse.Namespace) -> int:
    """Print one line for each step; 1 when a step was not computed as planned."""
    entries = _read(options.run)
    for entry in entries:
        sys.stdout.write(f"{line(entry)}\n")
    sys.stdout.write(f"{summary(entries)}\n")
    return EQUAL if all(entry.is_proven for entry in entries) else DIFFERENT


def _diff(options: argparse.Namespace) -> int:
    """Print how two runs differ, or that they do not."""
    with extras.needing("trainer", command="ledger"):
        from bertjob_trainer.ledger import difference  # noqa: PLC0415  # NumPy: only for who asks

    one, other = _read(options.one), _read(options.other)
    found = difference(one, other)
    if found is not None:
        sys.stdout.write(f"different: {found}\n")
        return DIFFERENT
    for name, entries in ((options.one, one), (options.other, other)):
        sys.stdout.write(f"{name}: {summary(entries)}\n")
    if not all(entry.is_proven for entry in one):
        return DIFFERENT
    sys.stdout.write("equal: the same samples in the same steps\n")
    return EQUAL


def line(entry: "Entry") -> str:
    """Return a step for a screen."""
    ids = entry.ids
    shown = " ".join(map(str, ids[:_SHOWN])) + (f" ... ({len(ids)})" if len(ids) > _SHOWN else "")
    return f"step {entry.step}  {entry.world} processes  {entry.digest[:8]}  {shown}"


def summary(entries: "Sequence[Entry]") -> str:
    """Return what a ledger says as a whole."""
    if not entries:
        return "no step"
    worlds = " -> ".join(str(world) for world, _ in itertools.groupby(entry.world for entry in entries))
    count = sum(len(entry.ids) for entry in entries)
    bad = [entry.step for entry in entries if not entry.is_proven]
    proof = f"NOT computed as planned in steps {bad[:5]}" if bad else "each computed once"
    return f"{len(entries)} steps, {count} samples, {proof}; processes {worlds}; digest {entries[-1].digest}"


def _read(place: str) -> "tuple[Entry, ...]":
    with extras.needing("trainer", command="ledger"):
        from bertjob_storage.opening import open_storage  # noqa: PLC0415
        from bertjob_storage.protocol import StorageError  # noqa: PLC0415
        from bertjob_trainer import ledger_files  # noqa: PLC0415

    uri = place if "://" in place else f"file://{Path(place).resolve()}"
    storage = open_storage(uri)
    try:
        return ledger_files.read(storage, ledger_files.find(storage, uri))
    except StorageError as error:
        raise ValueError(f"{uri}: {error}") from error
