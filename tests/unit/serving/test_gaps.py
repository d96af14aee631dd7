"""The part of the graph that fills in [MASK], against torch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.models import CONFIG

from bertjob_api.spec import Optimize
from bertjob_serving import onnxruntime_engine, openvino_engine
from bertjob_serving.engine import Engine
from bertjob_serving.optimize import graph, int8, ir, onnx_graph, recipes
from bertjob_serving.optimize.weights import Trained, read_trained
from bertjob_tasks.masked_lm import TOP
from bertjob_trainer import masked_heads
from bertjob_trainer.bert_config import BertConfig

MASK = 4
IDS = np.array([[2, 7, MASK, 9, MASK, 3], [2, 8, MASK, 10, 11, 3], [2, 8, 9, 10, 11, 3]], np.int32)


def _openvino(trained: Trained, folder: Path, store: Any) -> Engine:
    ir.save(graph.build(trained, store=store, reads="masked", mask_id=MASK), folder)
    return openvino_engine.compiled(folder, threads=1)


def _onnx(trained: Trained, folder: Path, store: Any) -> Engine:
    onnx_graph.save(onnx_graph.build(trained, store=store, reads="masked", mask_id=MASK), folder)
    return onnxruntime_engine.compiled(folder, threads=1)


@pytest.mark.parametrize(
    ("build", "store", "tolerance"),
    [
        (_openvino, graph.Float32(), 1e-4),
        (_openvino, int8.Int8(), 0.05),
        (_onnx, onnx_graph.Float32(), 1e-4),
        (_onnx, onnx_graph.Int8(largest=64, is_tied=True), 0.06),
    ],
    ids=["fp32", "int8", "fp32-onnx", "int8-onnx"],
)
def test_gaps_get_the_words_that_torch_gives_them(
    build: Callable[..., Engine], store: Any, tolerance: float, tmp_path: Path
) -> None:
    """Texts of a batch have their own gaps in order, rows without one are -1, and alone a text is answered as in company."""
    config = BertConfig.from_dict({**CONFIG, "vocab_size": 40, "initializer_range": 0.5}).with_dropout(0)
    model = masked_heads.build(config, seed=1, with_order=True).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    engine = build(read_trained(tmp_path), tmp_path / "graph", store)

    got = engine.logits(IDS, np.ones_like(IDS))
    chosen = torch.tensor([2, 4, 8])
    with torch.no_grad():
        words, _ = model(torch.from_numpy(IDS), torch.zeros(3, 6, dtype=torch.int32), None, chosen)
    chances = words.softmax(-1).numpy()
    assert got.shape == (3, 2, 2 * TOP)
    assert (got[1, 1] == -1).all()
    assert (got[2] == -1).all()
    for row, expected in zip((got[0, 0], got[0, 1], got[1, 0]), chances, strict=True):
        numbers = row[TOP:].astype(int)
        np.testing.assert_allclose(row[:TOP], expected[numbers], atol=tolerance)
        assert (np.diff(row[:TOP]) <= 0).all()
        if tolerance < 0.01:
            assert numbers.tolist() == np.argsort(-expected, kind="stable")[:TOP].tolist()
    np.testing.assert_allclose(engine.logits_of(IDS[1])[:, :TOP], got[1, :1, :TOP], atol=0.02)
    assert engine.logits_of(IDS[2]).shape == (1, 2 * TOP)


def test_only_what_can_be_made_is_planned() -> None:
    """Of all candidates a task that fills in [MASK] gets those without a fine-tune; when none is left, it is refused."""
    wanted = Optimize(methods=("dynamic", "static", "qat"), references=("torch", "magnitude"))
    expected = ("fp32", "fp32-onnx", "dynamic", "dynamic-onnx", "static", "magnitude-onnx")
    assert recipes.possible(wanted, hides=True) == expected
    assert recipes.possible(wanted, hides=False) == recipes.planned(wanted)
    assert recipes.possible(None, hides=True) == ("fp32",)
    with pytest.raises(ValueError, match="choose dynamic or static"):
        recipes.possible(Optimize(methods=("qat",), references=("magnitude",)), hides=True)
