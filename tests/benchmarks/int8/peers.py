"""
What others make of the same model, each by its own documented way and with its own defaults.

sentence-transformers' backends ``onnx`` and ``openvino`` run what ``onnxruntime-dynamic`` and ``openvino-static`` are: graphs that
were traced, quantized by ``quantize_dynamic`` with the configuration for AVX2, and by NNCF after measuring ranges. The package itself
needs releases of optimum that want an older transformers than the pinned one.
Source: sentence-transformers, sentence_transformers/backend (export_dynamic_quantized_onnx_model,
export_static_quantized_openvino_model); optimum, AutoQuantizationConfig.avx2.
"""

import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import openvino as ov
import torch
from benchmarks.int8 import models
from benchmarks.int8.models import Built
from benchmarks.int8.timing import Array

from bertjob_serving.engine import ATTENTION_MASK, INPUT_IDS, LOGITS

BASELINE: Final = "hf-eager"
TYPES: Final = "token_type_ids"
_ORDER: Final = (INPUT_IDS, ATTENTION_MASK, TYPES)


def baseline(model: Any) -> Built:
    """Return the model as transformers runs it."""
    return Built(infer=models.eager(model), size_bytes=sum(value.numel() * 4 for value in model.parameters()))


def torch_dynamic(model: Any, _folder: Path, *, threads: int) -> Built:
    """Return what ``torch.ao.quantization.quantize_dynamic`` makes of it."""
    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch points to another library
        quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return Built(infer=models.eager(quantized), size_bytes=state_bytes(quantized))


def state_bytes(model: Any) -> int:
    """Return the bytes of all tensors in a state, those packed by torch's quantization included."""
    total = 0
    for value in model.state_dict().values():
        parts = value if isinstance(value, tuple) else (value,)
        total += sum(part.numel() * part.element_size() for part in parts if isinstance(part, torch.Tensor))
    return total


def onnxruntime_dynamic(model: Any, folder: Path, *, threads: int) -> Built:
    """Return the traced model after ONNX Runtime's ``quantize_dynamic``."""
    path = models.once(folder / "onnxruntime-dynamic", lambda fresh: _quantized_onnx(model, fresh)) / "model.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Built(infer=lambda ids: session.run(None, _feed(ids))[0][0], size_bytes=path.stat().st_size)


def _quantized_onnx(model: Any, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415  # seconds, and rarely needed

    traced, quiet = folder / "traced.onnx", logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing
        torch.onnx.export(
            _Plain(model).eval(),
            _example(),
            str(traced),
            dynamo=False,
            opset_version=17,
            input_names=list(_ORDER),
            output_names=[LOGITS],
            dynamic_axes={name: {0: "B", 1: "S"} for name in _ORDER},
        )
        more = {"DefaultTensorType": 1}
        quantize_dynamic(
            traced, folder / "model.onnx", weight_type=QuantType.QUInt8, reduce_range=True, extra_options=more
        )
    quiet.setLevel(level)
    traced.unlink()


class _Plain(torch.nn.Module):  # type: ignore[misc]
    """The model with arguments in a row, as tracing wants it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Any, mask: Any, types: Any) -> Any:
        """Return the logits (B, L)."""
        return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits


def _example() -> tuple[torch.Tensor, ...]:
    ids = torch.arange(1, 17)[None]
    return ids, torch.ones_like(ids), torch.zeros_like(ids)


def _feed(ids: Array) -> dict[str, Array]:
    row = ids[None].astype(np.int64)
    return {INPUT_IDS: row, ATTENTION_MASK: np.ones_like(row), TYPES: np.zeros_like(row)}


def openvino_weights(model: Any, folder: Path, *, threads: int) -> Built:
    """Return the traced model after NNCF's ``compress_weights``."""
    import nncf  # noqa: PLC0415  # seconds, and rarely needed

    return _openvino("openvino-weights", model, folder, threads=threads, change=nncf.compress_weights)


def openvino_static(model: Any, folder: Path, *, threads: int) -> Built:
    """Return the traced model after NNCF's ``quantize`` with defaults for transformers."""
    import nncf  # noqa: PLC0415  # seconds, and rarely needed

    def quantize(traced: Any) -> Any:
        feeds = nncf.Dataset([_feed(ids) for ids in models.calibration(model.config.vocab_size)])
        return nncf.quantize(traced, feeds, model_type=nncf.ModelType.TRANSFORMER)

    return _openvino("openvino-static", model, folder, threads=threads, change=quantize)


def _openvino(name: str, model: Any, folder: Path, *, threads: int, change: Callable[[Any], Any]) -> Built:
    def make(fresh: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing
            traced = ov.convert_model(_Plain(model).eval(), example_input=_example())
        for got, wanted in zip(traced.inputs, _ORDER, strict=True):
            got.set_names({wanted})
        ov.save_model(change(traced), str(fresh / "model.xml"), compress_to_fp16=False)

    target = models.once(folder / name, make)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = ov.Core().compile_model(str(target / "model.xml"), "CPU", settings).create_infer_request()

    def infer(ids: Array) -> Any:
        request.infer(_feed(ids), share_inputs=True)
        return np.array(request.get_output_tensor(0).data)[0]

    return Built(infer=infer, size_bytes=(target / "model.bin").stat().st_size)


PEERS: Final[Mapping[str, Callable[..., Built]]] = {
    "torch-quantize-dynamic": torch_dynamic,
    "onnxruntime-dynamic": onnxruntime_dynamic,
    "openvino-weights": openvino_weights,
    "openvino-static": openvino_static,
}
