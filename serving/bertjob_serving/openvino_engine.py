"""OpenVINO on the CPU, for every precision alike."""

from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov

from bertjob_serving.engine import Array, Engine

XML: Final = "model.xml"
WEIGHTS: Final = "model.bin"

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


def compiled(folder: Path, *, threads: int) -> Engine:
    """Return the model in *folder*; see ``engine.Library``."""
    return _Compiled(folder, threads=threads)


class _Compiled(Engine):
    """A model of ``model.xml`` and ``model.bin``."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        settings = {**PROPERTIES, "INFERENCE_NUM_THREADS": threads}
        self._request = ov.Core().compile_model(str(folder / XML), "CPU", settings).create_infer_request()

    def logits(self, ids: Array, mask: Array) -> Array:
        """See ``Engine``."""
        self._request.infer([ids, mask], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data, np.float32)
