"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from bertjob_serving.engine import ATTENTION_MASK, INPUT_IDS, LOGITS, Array, Engine

WEIGHTS: Final = "model.onnx"
_QUIET: Final = 3
"""Errors only."""


def version() -> str:
    """Return the release of the engine, such as 1.32.0."""
    return str(onnxruntime.__version__)


def compiled(folder: Path, *, threads: int) -> Engine:
    """Return the model in *folder*; see ``engine.Library``."""
    return _Compiled(folder, threads=threads)


class _Compiled(Engine):
    """A model of ``model.onnx``."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        # Its threads wait for work by spinning; between two texts the CPUs belong to whoever comes next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        path = str(folder / WEIGHTS)
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def logits(self, ids: Array, mask: Array) -> Array:
        """See ``Engine``."""
        (found,) = self._session.run([LOGITS], {INPUT_IDS: ids, ATTENTION_MASK: mask})
        return np.asarray(found, np.float32)
