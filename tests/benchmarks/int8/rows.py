"""Figures and tables from what was measured, whatever of it there is yet. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from benchmarks.int8 import models, operators, texts, timing
from benchmarks.int8.peers import BASELINE
from benchmarks.int8.pieces import Piece
from support.benching import Row, row

from bertjob_serving.optimize.recipes import RECIPES

GOALS: Final[Mapping[str, float]] = {"latency": 8.0, "mix": 12.0, "size": 3.9, "size-pruned": 5.0}
"""On a CPU with AVX512-VNNI and two threads."""
WHAT: Final[Mapping[str, tuple[str, str]]] = {
    "fixed": ("latency", f"one text of {texts.PADDED} tokens: INT8 over Hugging Face FP32"),
    "mix": ("mix", f"texts of mixed lengths to labels: INT8 over Hugging Face FP32 padded to {texts.PADDED}"),
}
"""Name and meaning of each part's figure."""
Pieces = Mapping[tuple[str, str], Piece]


def rows(found: Pieces) -> list[Row]:
    """Return the figures that the pieces give."""
    return [*_speeds(found), *_sizes(found), *_zeroed(found)]


def speeds(found: Pieces, part: str) -> dict[str, float]:
    """Return how many times faster than the baseline each engine is, each beside the baseline of its own piece."""
    timed = [piece.seconds for (_, name), piece in found.items() if name == part]
    return {
        engine: timing.ratio(seconds[BASELINE], own)
        for seconds in timed
        for engine, own in seconds.items()
        if engine != BASELINE
    }


def _speeds(found: Pieces) -> list[Row]:
    figures = []
    for part, (name, what) in WHAT.items():
        known = speeds(found, part)
        whole = [engine for engine in known if _is_ours(engine) and not engine.startswith("pruning")]
        if not whole:
            continue
        best = max(whole, key=known.__getitem__)
        roof = found[("int8", part)].more.get("roof")
        goal, peers = GOALS[name], {BASELINE: 1.0, **known}
        figures.append(row(name, f"{what} ({best})", known[best], "x", goal=goal, peers=_rounded(peers), roof=roof))
        if exact := [engine for engine in known if engine.startswith("fp32")]:
            fp32 = max(exact, key=known.__getitem__)
            over = known[best] / max(known[fp32], 1.0)
            figures.append(row(f"{name}-over-fp32", f"the same over the best FP32 engine ({fp32})", over, "x"))
    return figures


def _is_ours(name: str) -> bool:
    return name in RECIPES and not (RECIPES[name].is_reference or RECIPES[name].is_shown)


def _sizes(found: Pieces) -> list[Row]:
    sizes = {name: size for piece in found.values() for name, size in piece.sizes.items()}
    ratios = {name: sizes[BASELINE] / size for name, size in sizes.items()}
    ours = {name: value for name, value in ratios.items() if _is_ours(name)}
    whole = [name for name in ours if not name.startswith("pruning")]
    cut = [name for name in ours if name.startswith("pruning")]
    figures = []
    if whole:
        best = max(whole, key=ours.__getitem__)
        what = f"FP32 bytes over those of INT8 ({best})"
        figures.append(row("size", what, ours[best], "x", goal=GOALS["size"], peers=_rounded(ratios)))
    if cut:
        best = max(cut, key=ours.__getitem__)
        left_out = f"{models.HEADS:.0%} of heads and {models.CHANNELS:.0%} of channels left out"
        what = f"the same with {left_out} ({best}); bench-quality shows accuracy"
        figures.append(row("size-pruned", what, ours[best], "x", goal=GOALS["size-pruned"]))
    return figures


def _zeroed(found: Pieces) -> Iterable[Row]:
    piece = found.get(("pruning", "fixed"))
    if piece is not None:
        speed = timing.ratio(piece.seconds["dynamic-onnx"], piece.seconds[models.ZEROS])
        yield row("zeroed-speed", "half of the weights 0: speed over INT8 without", speed, "x")
        what = "half of the weights 0: bytes of INT8, packed, over those without"
        yield row("zeroed-packed", what, piece.more["packed"], "x", better="lower")


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def printed(figures: Iterable[Row], *, feature: str | None) -> str:
    """Return the figures for people, with the reason where a goal was missed."""
    lines = []
    for each in figures:
        goal = each["goal"]
        state = "" if goal is None else f"   goal {goal:g}: {'reached' if each['value'] >= goal else 'missed'}"
        if state.endswith("missed") and feature is None and each["id"] in ("latency", "mix"):
            state += " (this CPU has no INT8 dot product; the goal is for AVX512-VNNI)"
        roof = "" if each["roof"] is None else f"   roof {each['roof']:g}"
        lines.append(f"{each['what']:84} {each['value']:8.3f} {each['unit']}{roof}{state}")
        ordered = sorted(each["peers"].items(), key=lambda item: -item[1])
        lines += [f"    {name:80} {value:8.3f}" for name, value in ordered]
    return "\n".join(lines) + "\n"


def profiled(found: Pieces) -> str:
    """Return where the engines' time goes and what could be won of the fastest INT8 engine, or "" when it was not profiled."""
    profiles: dict[str, Mapping[str, operators.Times]] = {
        name: times
        for (_, part), piece in found.items()
        if part == "operators"
        for name, times in piece.more["profiles"].items()
    }
    if not profiles:
        return ""
    kinds, layers = ({name: times[by] for name, times in profiles.items()} for by in ("kinds", "layers"))
    text = (
        f"milliseconds of one text of {texts.PADDED} tokens, by the engine's own profiler\n\n"
        f"{operators.by_kind(kinds)}\n{operators.by_layer(layers)}"
    )
    piece, known = found.get(("int8", "fixed")), speeds(found, "fixed")
    ours = [name for name in profiles if _is_ours(name) and name in known and not name.startswith("pruning")]
    if piece is None or not ours:
        return text
    best = max(ours, key=known.__getitem__)
    wall, baseline = (_milliseconds(piece, name) for name in (best, BASELINE))
    steps = operators.plan(kinds[best], wall_ms=wall, roof_ms=piece.more["roof_ms"], baseline_ms=baseline)
    return f"{text}\nwhat could be won of {best}, each step after those above it\n\n{steps}"


def _milliseconds(piece: Piece, name: str) -> float:
    return float(np.median(piece.seconds[name])) * 1e3
