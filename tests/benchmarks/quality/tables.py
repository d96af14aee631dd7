"""Tables and figures over all pieces that there are. Pure."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from benchmarks.quality.pieces import Piece
from support.benching import Row, row

from bertjob_serving.optimize.recipes import RECIPES

MOST_DROP, MOST_PRUNED_DROP = 0.3, 1.0
"""Points that may be lost on average: by what is served, and by pruning."""
SMALLEST: Final = 5.0
"""How many times smaller pruning shall make the weights."""
_COLUMNS: Final = ("task", "seed", "candidate", "metric", "FP32", "INT8", "drop, points", "smaller", "faster")


def every(pieces: Sequence[Piece]) -> str:
    """Return a Markdown table with a line for each candidate of each task and seed."""
    lines = [
        (
            piece.task,
            str(piece.seed),
            f"**{name}**" if name == piece.chosen else name,
            piece.metric,
            f"{piece.fp32.value:.4f}",
            f"{piece.candidates[name].value:.4f}",
            f"{piece.drop(name):+.2f}",
            f"{piece.smaller(name):.2f} x",
            f"{piece.candidates[name].speedup:.2f} x",
        )
        for piece in pieces
        for name in piece.candidates
    ]
    failed = [
        (piece.task, str(piece.seed), name, piece.metric, f"{piece.fp32.value:.4f}", why, "", "", "")
        for piece in pieces
        for name, why in piece.failures.items()
    ]
    return _table(_COLUMNS, [*lines, *failed])


def means(pieces: Sequence[Piece]) -> str:
    """Return a Markdown table with a line for each candidate: mean drop of each task over its seeds, and of all tasks."""
    tasks = list(dict.fromkeys(piece.task for piece in pieces))
    head = ("candidate", *(f"{task}, points" for task in tasks), "all tasks", "smaller", "faster")
    lines = []
    for name in dict.fromkeys(name for piece in pieces for name in piece.candidates):
        known = [piece for piece in pieces if name in piece.candidates]
        cells = [_drop([piece for piece in known if piece.task == task], name) for task in tasks]
        smaller = statistics.fmean(piece.smaller(name) for piece in known)
        faster = statistics.fmean(piece.candidates[name].speedup for piece in known)
        lines.append(
            (
                name,
                *("-" if cell is None else f"{cell:+.2f}" for cell in cells),
                _mean_of(cells),
                f"{smaller:.2f} x",
                f"{faster:.2f} x",
            )
        )
    return _table(head, lines)


def rows(pieces: Sequence[Piece]) -> list[Row]:
    """Return the figures with goals: what the gate picks loses on average, and what pruning loses and saves."""
    found = list(_figure(pieces, "chosen", "what the gate picks", lambda piece: piece.chosen, goal=MOST_DROP))
    for name in dict.fromkeys(name for piece in pieces for name in piece.candidates):
        found += _figure(pieces, name, name, lambda _, name=name: name, goal=_goal(name))
    pruned = [piece.smaller(name) for piece in pieces for name in piece.candidates if name.startswith("pruning")]
    if pruned:
        found.append(row("size-pruned", "FP32 bytes over those of pruned INT8", max(pruned), "x", goal=SMALLEST))
    return found


def _goal(name: str) -> float | None:
    """Return how many points a candidate may lose, or None for what is shown only."""
    if RECIPES[name].is_shown:
        return None
    return MOST_PRUNED_DROP if name.startswith("pruning") else MOST_DROP


def _figure(
    pieces: Sequence[Piece], key: str, what: str, pick: Callable[[Piece], str], *, goal: float | None
) -> Iterator[Row]:
    """Yield the mean over tasks of a candidate's mean drop over seeds, once for tasks of which nothing is missing."""
    known = [piece for piece in pieces if pick(piece) in piece.candidates]
    tasks = list(dict.fromkeys(piece.task for piece in known))
    drops = [statistics.fmean(piece.drop(pick(piece)) for piece in known if piece.task == task) for task in tasks]
    if drops:
        told = f"points lost by {what}, mean of {len(tasks)} tasks, {len(known)} runs"
        peers = dict(zip(tasks, (round(drop, 3) for drop in drops), strict=True))
        yield row(f"drop-{key}", told, statistics.fmean(drops), "points", better="lower", goal=goal, peers=peers)


def _drop(pieces: Sequence[Piece], name: str) -> float | None:
    return statistics.fmean(piece.drop(name) for piece in pieces) if pieces else None


def _mean_of(cells: Sequence[float | None]) -> str:
    known = [cell for cell in cells if cell is not None]
    return f"{statistics.fmean(known):+.2f}" if len(known) == len(cells) else "-"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *lines))
