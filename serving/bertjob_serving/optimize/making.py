"""How the files of each candidate are made from the trained model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bertjob_serving import cpu
from bertjob_serving.engine import Array
from bertjob_serving.optimize import graph, int8, ir, onnx_graph, static
from bertjob_serving.optimize.recipes import FP32
from bertjob_serving.optimize.weights import Trained
from bertjob_tasks.task import Reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """What candidates are made of."""

    trained: Trained
    reads: Reads
    """What the head reads."""
    sep_id: int | None
    """As in ``graph.build``."""
    calibration: tuple[Array, ...]
    """Token ids (S,) of training texts."""


Make = Callable[[Ingredients, Path], None]
"""Writes the model's files into a folder."""


def _openvino(store: graph.Store) -> Make:
    def make(given: Ingredients, target: Path) -> None:
        ir.save(graph.build(given.trained, store=store, reads=given.reads, sep_id=given.sep_id), target)

    return make


def _onnx(store: onnx_graph.Store) -> Make:
    def make(given: Ingredients, target: Path) -> None:
        model = onnx_graph.build(given.trained, store=store, reads=given.reads, sep_id=given.sep_id)
        onnx_graph.save(model, target)

    return make


def _static(given: Ingredients, target: Path) -> None:
    exact = graph.build(given.trained, store=graph.Float32(), reads=given.reads, sep_id=given.sep_id)
    ir.save(static.quantized(exact, given.calibration), target)


def _largest() -> int:
    """Return the greatest INT8 weight of products that ONNX Runtime adds up in 16 bits where the CPU has no VNNI."""
    return onnx_graph.FULL if cpu.int8_feature(cpu.features()) else onnx_graph.HALF


MAKERS: Final[Mapping[str, Make]] = {
    FP32: _openvino(graph.Float32()),
    "fp32-onnx": _onnx(onnx_graph.Float32()),
    "dynamic": _openvino(int8.Int8()),
    "dynamic-onnx": _onnx(onnx_graph.Int8(largest=_largest())),
    "static": _static,
}
"""By the name of the candidate, as in ``recipes``."""
