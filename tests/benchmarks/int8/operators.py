"""Where an engine's time goes: its own profile by operator, and what would be left if each kind of work were as fast as it can be."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import openvino as ov
from benchmarks.int8.timing import Array

from bertjob_serving import openvino_engine
from bertjob_serving.engine import ATTENTION_MASK, INPUT_IDS, ONNXRUNTIME

_RUNS: Final = 10
PRODUCTS: Final = "products"
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    PRODUCTS: ("FullyConnected", "MatMul", "Gemm", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulNBits"),
    "attention": ("ScaledDotProductAttention", "MultiHeadAttention", "Softmax"),
    "rounding": ("FakeQuantize", "Quantize", "Dequantize", "Reorder", "Convert", "DynamicQuantizeLinear"),
    "normalization": ("MVN", "LayerNormalization", "SkipLayerNormalization", "RMS", "NormalizeL2"),
    "activation": ("Gelu", "BiasGelu", "FastGelu", "Eltwise", "Math", "Subgraph"),
}
"""Operators by what they do; all others move data."""
MOVING: Final = "moving data"
Times = Mapping[str, float]
"""Milliseconds of one text by kind of work."""


def profile(kind: str, folder: Path, ids: Array, *, threads: int) -> dict[str, float]:
    """Return the milliseconds of one text by operator, means of some runs after a warm-up."""
    one = _onnxruntime if kind == ONNXRUNTIME else _openvino
    sums: dict[str, float] = defaultdict(float)
    for name, milliseconds in one(folder, ids[None].astype(np.int32), threads):
        sums[name] += milliseconds / _RUNS
    return dict(sums)


def _openvino(folder: Path, ids: Array, threads: int) -> Iterable[tuple[str, float]]:
    settings = {**openvino_engine.PROPERTIES, "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    request = ov.Core().compile_model(str(folder / openvino_engine.XML), "CPU", settings).create_infer_request()
    feed = [ids, np.ones_like(ids)]
    request.infer(feed)
    for _ in range(_RUNS):
        request.infer(feed)
        for item in request.get_profiling_info():
            yield item.node_type, item.real_time.total_seconds() * 1e3


def _onnxruntime(folder: Path, ids: Array, threads: int) -> Iterable[tuple[str, float]]:
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.enable_profiling = threads, True
        options.profile_file_prefix = f"{scratch}/profile"
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        for _ in range(_RUNS + 1):
            session.run(None, {INPUT_IDS: ids, ATTENTION_MASK: np.ones_like(ids)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    runs = [event["ts"] for event in events if event["name"] == "model_run"]
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= runs[1]:
            yield event["args"]["op_name"], event["dur"] / 1e3


def by_kind(operators: Mapping[str, float]) -> dict[str, float]:
    """Return the milliseconds by kind of work."""
    kinds = {name: kind for kind, names in KINDS.items() for name in names}
    sums: dict[str, float] = dict.fromkeys([*KINDS, MOVING], 0.0)
    for name, milliseconds in operators.items():
        sums[kinds.get(name, MOVING)] += milliseconds
    return sums


def table(profiles: Mapping[str, Times]) -> str:
    """Return a Markdown table: milliseconds and share of each kind of work, for each engine."""
    head = ("engine", "sum", *KINDS, MOVING)
    lines = [head, tuple("---" for _ in head)]
    for name, times in profiles.items():
        total = sum(times.values())
        lines.append((name, f"{total:.2f}", *(f"{times[kind]:.2f} ({times[kind] / total:.0%})" for kind in head[2:])))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plan(times: Times, *, wall_ms: float, roof_ms: float, baseline_ms: float) -> str:
    """
    Return a Markdown table: what each step would bring, done after those above it.

    Args:
        times: the engine's profile.
        wall_ms: what one text takes without the profiler.
        roof_ms: the products' time at this CPU's best speed.
        baseline_ms: what the baseline takes.

    """
    scale = wall_ms / sum(times.values())
    own = {kind: value * scale for kind, value in times.items()}
    steps = [
        ("as it is", 0.0),
        ("products at the speed of the CPU's best product", max(0.0, own[PRODUCTS] - roof_ms)),
        ("rounding within the products around it", own["rounding"]),
        ("activation and normalization within the products before them", own["activation"] + own["normalization"]),
        ("no data moved between operators", own[MOVING]),
        ("attention in no time: the roof", own["attention"]),
    ]
    lines, left = [("step", "saves ms", "leaves ms", "times the baseline"), ("---",) * 4], wall_ms
    for what, saved in steps:
        left -= saved
        lines.append((what, f"{saved:.2f}", f"{left:.2f}", f"{baseline_ms / left:.2f}"))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
