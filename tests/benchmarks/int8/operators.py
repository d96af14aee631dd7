"""Where an engine's time goes: its own profile by operator, and what would be left if each kind of work were as fast as it can be."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import onnxruntime
import openvino as ov
from benchmarks.int8.timing import Array

from bertjob_serving import onnxruntime_engine, openvino_engine
from bertjob_serving.engine import ATTENTION_MASK, INPUT_IDS, ONNXRUNTIME

_RUNS: Final = 10
PRODUCTS, ATTENTION, MOVING = "products", "attention", "moving data"
KINDS: Final[Mapping[str, str]] = {
    "FullyConnected": PRODUCTS,
    "FullyConnectedCompressed": PRODUCTS,
    "FullyConnectedQuantizedLegacy": PRODUCTS,
    "Gemm": PRODUCTS,
    "DynamicQuantizeMatMul": PRODUCTS,
    "ScaledDotProductAttention": ATTENTION,
    "MultiHeadAttention": ATTENTION,
    "Softmax": ATTENTION,
    **dict.fromkeys(("FakeQuantize", "Reorder", "Convert", "DynamicQuantizeLinear"), "rounding"),
    **dict.fromkeys(("MVN", "LayerNormalization", "SkipLayerNormalization"), "normalization"),
    **dict.fromkeys(("Gelu", "BiasGelu", "FastGelu", "Subgraph", "Eltwise"), "activation"),
}
"""Operators by what they do; all others move data."""
ORDER: Final = (PRODUCTS, ATTENTION, "rounding", "normalization", "activation", MOVING)
_LAYER: Final = re.compile(r"layer\.(\d+)\.")
_OUTSIDE: Final = "outside"
Times = Mapping[str, float]
"""Milliseconds of one text, by kind of work or by layer."""


class Node(NamedTuple):
    """One operator of the compiled graph."""

    operator: str
    name: str
    milliseconds: float


def profile(kind: str, folder: Path, ids: Array, *, threads: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of one text by kind of work and by layer, means of some runs after a warm-up."""
    asked = _onnxruntime if kind == ONNXRUNTIME else _openvino
    kinds: dict[str, float] = dict.fromkeys(ORDER, 0.0)
    layers: dict[str, float] = {}
    for node in asked(folder, ids[None].astype(np.int32), threads):
        place = _LAYER.search(node.name)
        layer = place.group(1) if place else _OUTSIDE
        kinds[kind_of(node, kind)] += node.milliseconds / _RUNS
        layers[layer] = layers.get(layer, 0.0) + node.milliseconds / _RUNS
    return {"kinds": kinds, "layers": layers}


def kind_of(node: Node, engine: str) -> str:
    """Return what a node does; OpenVINO's products with weights have names of their own, and its attention may be a fused graph."""
    if node.operator == "MatMul":
        return PRODUCTS if engine == ONNXRUNTIME else ATTENTION
    if node.operator == "Subgraph" and ".attention.self." in node.name:
        return ATTENTION
    return KINDS.get(node.operator, MOVING)


def _openvino(folder: Path, ids: Array, threads: int) -> Iterator[Node]:
    settings = {**openvino_engine.PROPERTIES, "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    request = ov.Core().compile_model(str(folder / openvino_engine.XML), "CPU", settings).create_infer_request()
    feed = [ids, np.ones_like(ids)]
    request.infer(feed)
    for _ in range(_RUNS):
        request.infer(feed)
        for item in request.get_profiling_info():
            yield Node(item.node_type, item.node_name, item.real_time.total_seconds() * 1e3)


def _onnxruntime(folder: Path, ids: Array, threads: int) -> Iterator[Node]:
    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.enable_profiling = threads, True
        options.profile_file_prefix = f"{scratch}/profile"
        session = onnxruntime.InferenceSession(
            str(folder / onnxruntime_engine.WEIGHTS), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(_RUNS + 1):
            session.run(None, {INPUT_IDS: ids, ATTENTION_MASK: np.ones_like(ids)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    runs = [event["ts"] for event in events if event["name"] == "model_run"]
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= runs[1]:
            yield Node(event["args"]["op_name"], event["name"], event["dur"] / 1e3)


def by_kind(profiles: Mapping[str, Times]) -> str:
    """Return a Markdown table: milliseconds and share of each kind of work, for each engine."""
    lines = [(name, sum(times.values()), times) for name, times in profiles.items()]
    return _table(
        ("engine", "sum", *ORDER),
        [
            (name, f"{total:.2f}", *(f"{times[kind]:.2f} ({times[kind] / total:.0%})" for kind in ORDER))
            for name, total, times in lines
        ],
    )


def by_layer(profiles: Mapping[str, Times]) -> str:
    """Return a Markdown table: milliseconds of each layer; what an engine's own names no longer place is outside."""
    layers = sorted({layer for times in profiles.values() for layer in times} - {_OUTSIDE}, key=int)
    lines = [
        (name, *(f"{times.get(layer, 0.0):.2f}" for layer in (*layers, _OUTSIDE))) for name, times in profiles.items()
    ]
    return _table(("engine", *(f"layer {layer}" for layer in layers), _OUTSIDE), lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *lines))


def plan(times: Times, *, wall_ms: float, roof_ms: float, baseline_ms: float) -> str:
    """
    Return a Markdown table: what each step would bring, done after those above it.

    Args:
        times: the engine's profile.
        wall_ms: what one text takes without the profiler.
        roof_ms: the products' time at this CPU's best speed.
        baseline_ms: what the baseline takes.

    """
    scale = wall_ms / sum(times.values())  # a profiler slows its engine
    own = {kind: value * scale for kind, value in times.items()}
    steps = [
        ("as it is", 0.0),
        ("products at the speed of the CPU's best product", max(0.0, own[PRODUCTS] - roof_ms)),
        ("rounding within the products around it", own["rounding"]),
        ("activation and normalization within the products before them", own["activation"] + own["normalization"]),
        ("no data moved between operators", own[MOVING]),
        ("attention in no time: the roof", own[ATTENTION]),
    ]
    lines, left = [], wall_ms
    for what, saved in steps:
        left -= saved
        lines.append((what, f"{saved:.2f}", f"{left:.2f}", f"{baseline_ms / left:.2f}"))
    return _table(("step", "saves ms", "leaves ms", "times the baseline"), lines)
