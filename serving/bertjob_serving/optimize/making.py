"""How the files of a candidate are made from its weights."""

from dataclasses import dataclass
from pathlib import Path

from bertjob_serving import cpu
from bertjob_serving.engine import ONNXRUNTIME, Array
from bertjob_serving.optimize import graph, int8, ir, onnx_graph, static
from bertjob_serving.optimize.recipes import Recipe
from bertjob_serving.optimize.weights import Trained
from bertjob_tasks.task import Reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """What candidates are made of."""

    trained: Trained
    reads: Reads
    """What the head reads."""
    sep_id: int | None
    mask_id: int | None = None
    """Both as in ``graph.build``."""
    calibration: tuple[Array, ...]
    """Token ids (S,) of training texts."""


def make(recipe: Recipe, given: Ingredients, target: Path) -> None:
    """Write the model's files of *recipe* into the folder *target*."""
    if recipe.engine == ONNXRUNTIME:
        tied = given.mask_id is not None
        onnx_store = onnx_graph.Float32() if recipe.is_reference else onnx_graph.Int8(largest=_largest(), is_tied=tied)
        made = onnx_graph.build(
            given.trained, store=onnx_store, reads=given.reads, sep_id=given.sep_id, mask_id=given.mask_id
        )
        onnx_graph.save(made, target)
        return
    is_float = recipe.is_reference or recipe.is_calibrated
    store = graph.Float32() if is_float else int8.Int8()
    model = graph.build(given.trained, store=store, reads=given.reads, sep_id=given.sep_id, mask_id=given.mask_id)
    ir.save(static.quantized(model, given.calibration) if recipe.is_calibrated else model, target)


def _largest() -> int:
    """Return the greatest INT8 weight of products that ONNX Runtime adds up in 16 bits where the CPU has no VNNI."""
    return onnx_graph.FULL if cpu.int8_feature(cpu.features()) else onnx_graph.HALF
