"""
The engines that compute logits on the CPU, and the seam between them.

An artifact's manifest names its engine; each is a module of its own, imported when an artifact needs it, so that a process
carries no other. The names of inputs and outputs are the same in all of them.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

OPENVINO: Final = "openvino"
ONNXRUNTIME: Final = "onnxruntime"
TORCH: Final = "torch"
"""Measured beside the others, never served: there is no module that loads its artifacts."""
_MODULES: Final[Mapping[str, str]] = {
    OPENVINO: "bertjob_serving.openvino_engine",
    ONNXRUNTIME: "bertjob_serving.onnxruntime_engine",
}
NAMES: Final = tuple(_MODULES)

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
LOGITS: Final = "logits"


class Engine(ABC):
    """One compiled model; not for two threads at once."""

    @abstractmethod
    def logits(self, ids: Array, mask: Array) -> Array:
        """Return the logits (B, L) or (B, S, L) float32 of padded token ids (B, S) int32; *mask* (B, S) int32 is 1 for tokens."""

    def logits_of(self, ids: Array) -> Array:
        """Return the logits (L,) or (S, L) of one text's token ids (S,), unpadded."""
        row = np.ascontiguousarray(ids[None, :], np.int32)
        first: Array = self.logits(row, np.ones_like(row))[0]
        return first


class Library(Protocol):
    """What the module of an engine offers."""

    WEIGHTS: str
    """File of an artifact whose size is the size of the weights."""

    def version(self) -> str:
        """Return the release, such as 2026.4.1."""
        ...

    def compiled(self, folder: Path, *, threads: int) -> Engine:
        """Return the model in *folder*, computing on *threads* CPUs; raises RuntimeError when the engine refuses it."""
        ...


class MissingEngineError(ValueError):
    """The engine is unknown or not installed; the message says which, and the remedy."""


def library(name: str) -> Library:
    """Return the engine *name*; raises MissingEngineError."""
    if name not in _MODULES:
        message = f"the engine {name!r} is not known here, expected {' or '.join(NAMES)}; use a newer image"
        raise MissingEngineError(message)
    try:
        return cast("Library", importlib.import_module(_MODULES[name]))
    except ImportError as error:
        message = f"the engine {name!r} is not installed here ({error}); install it, or use an image that has it"
        raise MissingEngineError(message) from error


def answers_alone(name: str, *, method: str) -> bool:
    """
    Return whether a model that was made by *method* for the engine *name* must be asked one input at a time.

    INT8 products of ONNX Runtime and torch round their input over the range of the whole batch, padding included: beside others an input
    would be answered otherwise than alone.
    """
    return name in (ONNXRUNTIME, TORCH) and not method.startswith("fp32")


def described(name: str, *, threads: int) -> str:
    """Return engine, release and threads for reports."""
    version = metadata.version(TORCH) if name == TORCH else library(name).version()
    return f"{name} {version}, {threads} threads"
