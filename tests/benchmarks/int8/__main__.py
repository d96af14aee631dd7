"""
How much faster and smaller INT8 is on this CPU. ``make bench-int8``.

Engines are timed in turn beside Hugging Face's FP32, in groups that are measured and kept one by one, so that the benchmark can be
done in pieces. The first round is dropped, and a piece whose baseline drifts is refused. Weights are random: speed and size do not
depend on what they say, and nothing is claimed about accuracy here.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.int8 import models, operators, peers, pieces, rows, texts, timing
from benchmarks.int8.models import Built
from benchmarks.int8.peers import BASELINE, PEERS
from benchmarks.int8.pieces import GROUPS, PARTS, Piece
from support.benching import write

from bertjob_serving import cpu
from bertjob_serving.optimize.recipes import RECIPES
from bertjob_serving.optimize.weights import read_trained

MIX: Final = 24
"""Texts of mixed lengths."""


def main() -> int:
    """Measure what is missing, print all that is kept, and write it as JSON."""
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    stamp = pieces.stamp(options.shape, threads=options.threads)
    failed = None if options.gather else _measure(options, stamp)
    found, feature = pieces.kept(options.shape, stamp=stamp), cpu.int8_feature(cpu.features())
    figures = rows.rows(found)
    sys.stdout.write(f"{_about(options)}\n{rows.printed(figures, feature=feature)}\n{rows.profiled(found)}")
    missing = [f"{group} {part}" for group in GROUPS for part in PARTS if (group, part) not in found]
    if missing:
        sys.stdout.write(f"not measured yet: {', '.join(missing)}\n")
    if figures:
        machine = {"cpu": cpu.model(), "features": _flags(), "threads": options.threads, "shape": options.shape}
        write("int8", figures, machine={**machine, "drift": options.accept_drift}, quietly=True)
    if failed is not None:
        sys.stderr.write(f"error: {failed}\n")
    return 0 if failed is None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench-int8", description="Measure how much faster and smaller INT8 is on this CPU."
    )
    parser.add_argument("--shape", choices=models.SHAPES, default="base", help="of the model")
    parser.add_argument(
        "--rounds", type=int, default=15, help="timed rounds at 128 tokens, a third of that at mixed lengths"
    )
    parser.add_argument("--threads", type=int, default=min(2, cpu.available()), help="of each engine")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), help="which; all unless given")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which; all unless given")
    parser.add_argument("--accept-drift", action="store_true", help="keep the figures of a machine that is not quiet")
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--again", action="store_true", help="measure what is kept once more")
    todo.add_argument("--build", action="store_true", help="make the engines' files and measure nothing")
    todo.add_argument("--gather", action="store_true", help="measure nothing, print what is kept")
    return parser


def _measure(options: argparse.Namespace, stamp: str) -> str | None:
    """Measure and keep each missing piece that is asked for; return what went wrong with the last one that was refused."""
    folder, failed = pieces.KEPT / "models" / f"{options.shape}-{stamp}", None
    model = models.reference(models.SHAPES[options.shape], folder)
    done = {} if options.again else pieces.kept(options.shape, stamp=stamp)
    for group in options.groups:
        missing = [part for part in options.parts if options.build or (group, part) not in done]
        built = _built(group, model, folder, threads=options.threads) if missing else {}
        for part in () if options.build else missing:
            started = time.monotonic()
            try:
                piece = _MEASURES[part](group, built, model, folder, options)
            except timing.DriftError as error:
                failed = f"{group} {part}: {error}"
                _say(failed)
                continue
            pieces.keep(Piece(group=group, part=part, stamp=stamp, **piece), shape=options.shape)
            _say(f"{group} {part}: {time.monotonic() - started:.0f} s")
    return failed


def _built(group: str, model: Any, folder: Path, *, threads: int) -> dict[str, Built]:
    """Return the baseline and the engines of a group."""
    found = {BASELINE: peers.baseline(model)}
    for name in GROUPS[group]:
        _say(f"{group}: making or loading {name}")
        if name in PEERS:
            found[name] = PEERS[name](model, folder, threads=threads)
        else:
            found[name] = models.candidate(name, folder, threads=threads)
    return found


def _fixed(
    group: str, built: Mapping[str, Built], _model: Any, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Time one text of ``PADDED`` tokens."""
    ids = np.random.default_rng(1).integers(1, models.SHAPES[options.shape].vocabulary, texts.PADDED).astype(np.int32)
    engines = {name: item.infer for name, item in built.items()}
    seconds = timing.rounds(engines, [ids], count=options.rounds)
    _refuse(seconds, options, what=f"{texts.PADDED} tokens")
    roof = roof_s(folder, tokens=texts.PADDED)
    more = {"roof": round(float(np.median(seconds[BASELINE])) / roof, 2), "roof_ms": roof * 1e3}
    packed = {"packed": models.packed_ratio(folder)} if models.ZEROS in built else {}
    return {
        "seconds": seconds,
        "sizes": {name: item.size_bytes for name, item in built.items()},
        "more": {**more, **packed},
    }


def _mix(
    _group: str, built: Mapping[str, Built], model: Any, _folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Time texts of mixed lengths from text to label."""
    engines = {name: texts.unpadded(item.infer) for name, item in built.items()} | {BASELINE: texts.padded(model)}
    seconds = timing.rounds(engines, texts.mixed(MIX), count=max(3, options.rounds // 3))
    _refuse(seconds, options, what="mixed lengths")
    return {"seconds": seconds}


def _operators(
    _group: str, built: Mapping[str, Built], _model: Any, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Profile our engines."""
    ids = np.random.default_rng(1).integers(1, models.SHAPES[options.shape].vocabulary, texts.PADDED)
    own = [name for name in built if name in RECIPES]
    found = {name: operators.profile(RECIPES[name].engine, folder / name, ids, threads=options.threads) for name in own}
    return {"more": {"profiles": found}}


_MEASURES: Final = {"fixed": _fixed, "mix": _mix, "operators": _operators}


def _refuse(seconds: Mapping[str, list[float]], options: argparse.Namespace, *, what: str) -> None:
    if not options.accept_drift:
        timing.refuse_drift(seconds[BASELINE], what=what)


def int8_gain(feature: str | None) -> float:
    """
    Return how many INT8 products an instruction stream of this CPU makes in the time of one FP32 product, at most.

    With a dot product of four, 4; without one, three instructions (vpmaddubsw, vpmaddwd, vpaddd) do what four FMAs do.
    Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
    """
    return 4.0 if feature is not None else 4 / 3


def roof_s(folder: Path, *, tokens: int) -> float:
    """Return the seconds of one text when nothing but the encoder's products took time, at the speed of this CPU's best one."""
    size = 1024
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = min(_seconds(lambda: a @ b) for _ in range(8))
    flops = 2 * size**3 / best
    trained = read_trained(folder / models.REFERENCE)
    weights = sum(value.size for name, value in trained.tensors.items() if value.ndim == 2 and ".encoder." in name)
    return 2 * weights * tokens / (flops * int8_gain(cpu.int8_feature(cpu.features())))


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _flags() -> list[str]:
    return sorted(flag for flag in cpu.features() if flag in ("avx2", "avx512f", "amx_int8", *cpu.INT8_FEATURES))


def _about(options: argparse.Namespace) -> str:
    shape = models.SHAPES[options.shape]
    size = f"{shape.layers} layers of {shape.width}, random weights"
    flags = ", ".join(_flags()) or "no known features"
    return f"{cpu.model()}: {flags}; {options.threads} of {os.cpu_count()} CPUs; {options.shape}: {size}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
