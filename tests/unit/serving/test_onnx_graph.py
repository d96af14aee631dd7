"""The graph for ONNX Runtime against the reference implementation and against the graph for OpenVINO."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForTokenClassification

from bertjob_serving import onnxruntime_engine, openvino_engine
from bertjob_serving.engine import Engine
from bertjob_serving.optimize import graph, ir, onnx_graph
from bertjob_serving.optimize.weights import Trained, read_trained

SaveModel = Callable[..., tuple[Path, Any]]
Array = Any


def _batch() -> tuple[Array, Array]:
    ids = np.random.default_rng(0).integers(1, 120, (3, 17)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[1, 9:] = 0
    mask[2, 1:] = 0
    return ids, mask


def _engine(trained: Trained, folder: Path, store: Any, **options: Any) -> Engine:
    onnx_graph.save(onnx_graph.build(trained, store=store, **options), folder)
    return onnxruntime_engine.compiled(folder, threads=1)


def _reference(model: Any, ids: Array, mask: Array) -> Array:
    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(ids).long(), attention_mask=torch.from_numpy(mask).long())
    return found.logits.numpy()


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_equals_transformers(save_model: SaveModel, tmp_path: Path, activation: str) -> None:
    """The graph's logits are those of transformers, padding included."""
    folder, model = save_model(hidden_act=activation)
    ids, mask = _batch()

    got = _engine(read_trained(folder), tmp_path / "onnx", onnx_graph.Float32()).logits(ids, mask)

    assert np.abs(got - _reference(model, ids, mask)).max() < 1e-4


def test_tokens_equal_transformers(save_model: SaveModel, tmp_path: Path) -> None:
    """A head on tokens gives logits for each of them, without a pooler."""
    folder, model = save_model(kind=BertForTokenClassification)
    ids, mask = _batch()

    got = _engine(read_trained(folder), tmp_path / "onnx", onnx_graph.Float32(), reads="tokens").logits(ids, mask)

    assert np.abs((got - _reference(model, ids, mask))[mask > 0]).max() < 1e-4


def test_pairs_equal_those_of_the_other_engine(save_model: SaveModel, tmp_path: Path) -> None:
    """Token types follow from where the first text ends, in both engines alike."""
    trained = read_trained(save_model()[0])
    ids, mask = _batch()
    ids[:, 4] = 119

    got = _engine(trained, tmp_path / "onnx", onnx_graph.Float32(), sep_id=119).logits(ids, mask)
    ir.save(graph.build(trained, store=graph.Float32(), sep_id=119), tmp_path / "ir")

    assert np.abs(got - openvino_engine.compiled(tmp_path / "ir", threads=1).logits(ids, mask)).max() < 1e-4
    alone = _engine(trained, tmp_path / "alone", onnx_graph.Float32()).logits(ids, mask)
    assert np.abs(got - alone).max() > 1e-3


def test_int8_is_close_and_small(save_model: SaveModel, tmp_path: Path) -> None:
    """INT8 weights and activations answer nearly alike and take about a quarter of the bytes."""
    sizes = {"hidden_size": 128, "intermediate_size": 512, "vocab_size": 2000, "initializer_range": 0.05}
    trained = read_trained(save_model(**sizes)[0])
    ids, mask = _batch()

    exact = _engine(trained, tmp_path / "fp32", onnx_graph.Float32()).logits(ids, mask)
    small = _engine(trained, tmp_path / "int8", onnx_graph.Int8(largest=onnx_graph.HALF)).logits(ids, mask)

    assert 0 < np.abs(small - exact).max() < 0.1
    bytes_of = [(tmp_path / name / onnxruntime_engine.WEIGHTS).stat().st_size for name in ("int8", "fp32")]
    assert bytes_of[0] / bytes_of[1] < 0.34


@pytest.mark.parametrize("store", [onnx_graph.Float32(), onnx_graph.Int8(largest=127)], ids=["fp32", "int8"])
def test_same_model_gives_same_bytes(save_model: SaveModel, tmp_path: Path, store: Any) -> None:
    """Building twice gives identical files."""
    trained = read_trained(save_model()[0])

    for name in ("a", "b"):
        onnx_graph.save(onnx_graph.build(trained, store=store), tmp_path / name)

    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()


def test_positions_that_no_text_reaches_are_left_out(save_model: SaveModel, tmp_path: Path) -> None:
    """A model for short texts answers them as the whole one does, from fewer bytes."""
    whole = read_trained(save_model()[0])
    ids, mask = _batch()

    engines = [
        _engine(trained, tmp_path / name, onnx_graph.Float32())
        for name, trained in (("whole", whole), ("short", whole.shortened(17)))
    ]

    assert (engines[0].logits(ids, mask) == engines[1].logits(ids, mask)).all()
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("whole", "short")]
    assert sizes[0] - sizes[1] == pytest.approx(
        (64 - 17) * 64 * 4, abs=8
    )  # lengths are written in as few bytes as they need
