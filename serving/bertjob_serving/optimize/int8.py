"""
INT8 weights, symmetric with one scale per output channel; embeddings with one scale per row.

The engine quantizes the activations of such products on the fly where the CPU has INT8 instructions, so nothing needs to be
calibrated.
"""

import numpy as np
from openvino import opset15 as ops

from bertjob_serving.optimize.graph import Node
from bertjob_serving.optimize.weights import Array


def quantize_rows(values: Array, *, largest: int = 127) -> tuple[Array, Array]:
    """
    Return *values* (R, C) as int8 (R, C) of at most *largest* and float32 scales (R, 1): their product is close to *values*.

    A row of zeros gets scale 1, so that nothing is divided by 0.
    """
    peaks = np.abs(values).max(axis=1, keepdims=True)
    scales = np.where(peaks > 0, peaks / largest, 1).astype(np.float32)
    return np.clip(np.rint(values / scales), -largest, largest).astype(np.int8), scales


class Int8:
    """Weights as int8 constants that the graph scales back."""

    def matrix(self, name: str, values: Array) -> Node:
        """Return the scaled constant, in the pattern that the engine takes as compressed weights."""
        whole, scales = quantize_rows(values)
        wide = ops.convert(ops.constant(whole, name=name), np.float32, name=f"{name}.float")
        return ops.multiply(wide, ops.constant(scales, name=f"{name}.scales"), name=f"{name}.scaled")

    def rows(self, name: str, values: Array, ids: Node) -> Node:
        """Return the scaled rows: picked as int8 first, so that the table is never held as float32."""
        whole, scales = quantize_rows(values)
        axis = ops.constant(np.int64(0), name=f"{name}.axis")
        picked = ops.gather(ops.constant(whole, name=name), ids, axis, name=f"{name}.rows")
        factors = ops.gather(ops.constant(scales, name=f"{name}.scales"), ids, axis, name=f"{name}.factors")
        return ops.multiply(ops.convert(picked, np.float32, name=f"{name}.float"), factors, name=f"{name}.scaled")
