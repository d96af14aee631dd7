"""
How much faster and smaller INT8 is on this CPU. ``make bench-int8``.

All engines are timed in turn in one process, the first round is dropped, and a run whose baseline drifts is refused. Weights are
random: speed and size do not depend on what they say, and nothing is claimed about accuracy here.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks import int8_models as models
from benchmarks import int8_timing as timing

from bertjob_serving import cpu

OUT = Path(__file__).parents[2] / "build" / "bench" / "int8.json"
BASELINE: Final = "hf-eager"
TOKENS: Final = 128
MIX: Final = 32
Row = dict[str, Any]
Times = dict[str, list[float]]

GOAL_FIXED, GOAL_MIX, GOAL_SIZE, GOAL_PRUNED = 8.0, 12.0, 3.9, 5.0
"""On a CPU with AVX512-VNNI and two threads."""


def lengths(count: int) -> list[int]:
    """Return lengths of texts as people send them: half are below 24 tokens, one of twenty is above 128."""
    drawn = np.random.default_rng(0).lognormal(np.log(24), np.log(128 / 24) / 1.645, count)
    return np.clip(drawn, 4, models.LONGEST).astype(int).tolist()


def int8_gain(feature: str | None) -> float:
    """
    Return how many INT8 products an instruction stream of this CPU makes in the time of one FP32 product, at most.

    With a dot product of four, 4; without one, three instructions (vpmaddubsw, vpmaddwd, vpaddd) do what four FMAs do.
    Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
    """
    return 4.0 if feature is not None else 4 / 3


def roof_s(folder: Path, *, tokens: int, feature: str | None) -> float:
    """Return the seconds of one text when nothing but the encoder's products took time, at the speed of this CPU's best one."""
    size = 1024
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = min(_seconds(lambda: a @ b) for _ in range(8))
    flops = 2 * size**3 / best
    trained = models.read_trained(folder)
    weights = sum(value.size for name, value in trained.tensors.items() if value.ndim == 2 and ".encoder." in name)
    return 2 * weights * tokens / (flops * int8_gain(feature))


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measured(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Return a row for each figure."""
    torch.set_num_threads(options.threads)
    model = models.reference(models.SHAPES[options.shape], folder)
    fp32_bytes = sum(value.numel() * 4 for value in model.parameters())
    built = models.peers(model, fp32_bytes)
    built |= models.candidates(folder, threads=options.threads, told=lambda name: _say(f"building {name}"))
    zeroed, packed = models.zeroed(folder, threads=options.threads)
    engines = {name: item.infer for name, item in {**built, "zeroed": zeroed}.items()}
    rng, most = np.random.default_rng(1), models.SHAPES[options.shape].vocabulary
    fixed_text = rng.integers(1, most, TOKENS).astype(np.int32)
    mix_texts = [rng.integers(1, most, length).astype(np.int32) for length in lengths(MIX)]
    _say("timing one text of 128 tokens")
    fixed = timing.rounds(engines, [fixed_text], count=options.rounds)
    _say("timing texts of mixed lengths")
    padded = lambda ids: engines[BASELINE](np.resize(ids, max(TOKENS, len(ids))))  # noqa: E731
    mix = timing.rounds({**engines, BASELINE: padded}, mix_texts, count=max(3, options.rounds // 3))
    if not options.accept_drift:
        timing.refuse_drift(fixed[BASELINE], what=f"{TOKENS} tokens")
        timing.refuse_drift(mix[BASELINE], what="mixed lengths")
    feature = cpu.int8_feature(cpu.features())
    roof = float(np.median(fixed[BASELINE])) / roof_s(folder, tokens=TOKENS, feature=feature)
    return [
        *_speed_rows(fixed, mix, roof),
        *_size_rows(built, fp32_bytes),
        _row("zeroed-speed", "half of the weights 0: speed over INT8 without", _zeroed(fixed), "x", None),
        _row("zeroed-packed", "half of the weights 0: bytes of INT8, packed, over those without", packed, "x", None)
        | {"better": "lower"},
    ]


def _zeroed(fixed: Times) -> float:
    return timing.ratio(fixed["dynamic-onnx"], fixed["zeroed"])


def _speed_rows(fixed: Times, mix: Times, roof: float) -> list[Row]:
    rows = []
    for name, what, times, goal in (
        ("latency", f"one text of {TOKENS} tokens: INT8 over Hugging Face FP32", fixed, GOAL_FIXED),
        ("mix", f"texts of mixed lengths: INT8 over Hugging Face FP32 padded to {TOKENS}", mix, GOAL_MIX),
    ):
        speeds = {engine: timing.ratio(times[BASELINE], seconds) for engine, seconds in times.items()}
        whole = [engine for engine in speeds if _is_ours(engine) and not engine.startswith("pruning")]
        best, exact = max(whole, key=speeds.__getitem__), max(_fp32(speeds), key=speeds.__getitem__)
        rows.append(_row(name, f"{what} ({best})", speeds[best], "x", goal) | {"peers": _rounded(speeds)})
        over = timing.ratio(times[exact], times[best])
        rows.append(_row(f"{name}-over-fp32", f"the same over the best FP32 engine ({exact})", over, "x", None))
    rows[0]["roof"] = round(roof, 2)
    return rows


def _fp32(names: Any) -> list[str]:
    return [name for name in names if name.startswith("fp32") or name == BASELINE]


def _is_ours(name: str) -> bool:
    return name in models.RECIPES and not models.RECIPES[name].is_reference


def _size_rows(built: dict[str, models.Built], fp32_bytes: int) -> list[Row]:
    ratios = {name: fp32_bytes / item.size_bytes for name, item in built.items()}
    small = {name: value for name, value in ratios.items() if _is_ours(name)}
    whole = max((name for name in small if not name.startswith("pruning")), key=small.__getitem__)
    cut = max((name for name in small if name.startswith("pruning")), key=small.__getitem__)
    left_out = f"{models.HEADS:.0%} of heads and {models.CHANNELS:.0%} of channels left out"
    return [
        _row("size", f"FP32 bytes over those of INT8 ({whole})", small[whole], "x", GOAL_SIZE)
        | {"peers": _rounded(ratios)},
        _row(
            "size-pruned", f"the same with {left_out} ({cut}); accuracy is not shown here", small[cut], "x", GOAL_PRUNED
        ),
    ]


def _row(name: str, what: str, value: float, unit: str, goal: float | None) -> Row:
    row = {"id": name, "what": what, "value": value, "unit": unit, "better": "higher", "goal": goal}
    return row | {"peers": {}, "roof": None}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def printed(rows: list[Row], *, feature: str | None) -> str:
    """Return the rows for people, with the reason where a goal was missed."""
    lines = []
    for row in rows:
        goal = row["goal"]
        state = "" if goal is None else f"   goal {goal:g}: {'reached' if row['value'] >= goal else 'missed'}"
        if state.endswith("missed") and feature is None and row["id"] in ("latency", "mix"):
            state += " (this CPU has no INT8 dot product; the goal is for AVX512-VNNI)"
        roof = "" if row["roof"] is None else f"   roof {row['roof']:g}"
        lines.append(f"{row['what']:84} {row['value']:8.3f} {row['unit']}{roof}{state}")
        lines += [f"    {name:80} {value:8.3f}" for name, value in row["peers"].items()]
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how much faster and smaller INT8 is on this CPU.")
    parser.add_argument("--shape", choices=models.SHAPES, default="base", help="of the model")
    parser.add_argument(
        "--rounds", type=int, default=15, help="timed rounds at 128 tokens, a third of that at mixed lengths"
    )
    parser.add_argument("--threads", type=int, default=min(2, cpu.available()), help="of each engine")
    parser.add_argument("--accept-drift", action="store_true", help="keep the figures of a machine that is not quiet")
    return parser.parse_args()


def main() -> int:
    """Measure, print a table and write it as JSON."""
    options, feature = _options(), cpu.int8_feature(cpu.features())
    flags = sorted(flag for flag in cpu.features() if flag in ("avx2", "avx512f", "amx_int8", *cpu.INT8_FEATURES))
    sys.stdout.write(f"{cpu.model()}: {', '.join(flags) or 'no known features'}; {options.threads} threads\n")
    with tempfile.TemporaryDirectory(prefix="bench-int8-") as folder:
        try:
            rows = measured(options, Path(folder))
        except timing.DriftError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
    sys.stdout.write(printed(rows, feature=feature))
    machine = {"cpu": cpu.model(), "features": flags, "cpus": os.cpu_count(), "threads": options.threads}
    machine |= {"python": platform.python_version(), "shape": options.shape, "drift": options.accept_drift}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
