"""The engine that computes logits: OpenVINO on the CPU, for every precision alike."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov

Array = np.ndarray[Any, np.dtype[Any]]

NAME: Final = "openvino"
XML: Final = "model.xml"
BIN: Final = "model.bin"

PROPERTIES: Final = {
    "PERFORMANCE_HINT": "LATENCY",
    # The CPU plugin would otherwise compute in bfloat16 where the hardware has it, and FP32 would be no reference.
    "INFERENCE_PRECISION_HINT": "f32",
    # Activations of INT8 weights are quantized in groups of this many: the default, named since results depend on it.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32,
}


def version() -> str:
    """Return the release of the engine, such as 2026.4.1."""
    return str(ov.get_version()).partition("-")[0]


class Engine:
    """One compiled model; not for two threads at once."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """
        Compile the model in *folder*.

        Args:
            folder: holds ``model.xml`` and ``model.bin``.
            threads: CPUs to compute on.

        Raises:
            RuntimeError: the engine refuses the model.

        """
        core = ov.Core()
        settings = {**PROPERTIES, "INFERENCE_NUM_THREADS": threads}
        self._request = core.compile_model(str(folder / XML), "CPU", settings).create_infer_request()

    def logits(self, ids: Array, mask: Array) -> Array:
        """Return the logits (B, L) or (B, S, L) float32 of padded token ids (B, S) int32; *mask* (B, S) int32 is 1 for tokens."""
        self._request.infer([ids, mask], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data, np.float32)

    def logits_of(self, ids: Array) -> Array:
        """Return the logits (L,) or (S, L) of one text's token ids (S,), unpadded."""
        row = np.ascontiguousarray(ids[None, :], np.int32)
        first: Array = self.logits(row, np.ones_like(row))[0]
        return first
