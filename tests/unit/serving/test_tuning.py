"""Reworked weights: which parts go, that the cut changes nothing else, and that the fine-tune learns, always the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertForSequenceClassification, BertForTokenClassification

from bertjob_serving import onnxruntime_engine, openvino_engine
from bertjob_serving.optimize import graph, ir, onnx_graph
from bertjob_serving.optimize.bundle import Bundle, Settings, Tuning
from bertjob_serving.optimize.int8 import quantize_rows
from bertjob_serving.optimize.tuning import distil, importance, pruning, rework, rounding, student, torch_dynamic
from bertjob_serving.optimize.tuning.importance import Importance
from bertjob_serving.optimize.weights import read_trained

SaveModel = Callable[..., tuple[Path, Any]]


@pytest.fixture
def folder(save_model: SaveModel) -> Path:
    """Return the folder of a model of 2 layers with 4 heads and 96 channels each."""
    return save_model()[0]


def _texts(count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(5, 119, 4 + index % 9).astype(np.int32) for index in range(count)]


def _silence(model: Any) -> None:
    """Make head 2 of the first layer, and its channels from 32 on, say nothing."""
    layer = student.layers_of(model)[0]
    with torch.no_grad():
        layer.attention.output.dense.weight[:, 32:48] = 0
        layer.output.dense.weight[:, 32:] = 0


def test_parts_that_say_nothing_have_no_importance(folder: Path) -> None:
    """A head and channels that reach no output score 0, all others more."""
    model = student.load(folder, reads="first")
    _silence(model)

    first, second = importance.measure(model, student.dataset(_texts(20), sep_id=None))

    assert [head > 0 for head in first.heads.tolist()] == [True, True, False, True]
    assert (first.channels > 0).tolist() == [True] * 32 + [False] * 64
    assert (second.heads > 0).all()
    assert len(second.channels) == 96


def test_cutting_what_says_nothing_changes_no_answer(folder: Path, tmp_path: Path) -> None:
    """The smaller model answers as the whole one, in torch and in both engines."""
    model, data = student.load(folder, reads="first"), student.dataset(_texts(6), sep_id=None)
    _silence(model)
    whole, _ = student.run(model, data, np.arange(6))
    found = importance.measure(model, data)

    pruning.cut(model, pruning.choose(found, heads=1 / 8, channels=64 / 192))
    small, _ = student.run(model, data, np.arange(6))

    first, second = student.layers_of(model)
    assert (first.attention.self.num_heads, second.attention.self.num_heads) == (3, 4)
    assert (first.intermediate.dense.out_features, second.intermediate.dense.out_features) == (32, 96)
    assert torch.allclose(whole, small, atol=1e-5)
    trained = student.tensors_of(model, read_trained(folder))
    ir.save(graph.build(trained, store=graph.Float32()), tmp_path / "ir")
    onnx_graph.save(onnx_graph.build(trained, store=onnx_graph.Float32()), tmp_path / "onnx")
    engines = (
        openvino_engine.compiled(tmp_path / "ir", threads=1),
        onnxruntime_engine.compiled(tmp_path / "onnx", threads=1),
    )
    for engine in engines:
        answered = np.stack([engine.logits_of(text) for text in _texts(6)])
        assert np.abs(answered - whole.detach().numpy()).max() < 1e-4


@given(st.lists(st.lists(st.floats(0, 9), min_size=64, max_size=64), min_size=1, max_size=4), st.floats(0, 0.95))
def test_every_layer_keeps_whole_groups(scores: list[list[float]], share: float) -> None:
    """Whatever the importance, something is left of each layer, no index comes twice, and channels come in groups."""
    found = [Importance(heads=np.array(layer[:4]), channels=np.array(layer)) for layer in scores]

    for kept in pruning.choose(found, heads=share, channels=share):
        assert 1 <= len(kept.heads) <= 4
        assert len(kept.channels) in (32, 64)
        assert list(kept.channels) == sorted(set(kept.channels))


def test_most_important_parts_are_kept() -> None:
    """Importance is compared over all layers at once."""
    low, high = np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 6.0, 7.0, 8.0])
    found = [Importance(heads=heads, channels=np.ones(64)) for heads in (low, high)]

    kept = pruning.choose(found, heads=0.5, channels=0)

    assert [layer.heads for layer in kept] == [(3,), (0, 1, 2, 3)]


def test_rounding_is_what_int8_will_do() -> None:
    """Weights are rounded as they will be stored, inputs to 255 steps of their range, and gradients pass."""
    torch.manual_seed(0)
    plain = torch.nn.Linear(24, 8)
    model = torch.nn.Sequential(plain)
    x = torch.randn(5, 24, requires_grad=True)

    rounding.simulate(model, largest=64)
    got = model(x)

    whole, scales = quantize_rows(plain.weight.detach().numpy(), largest=64)
    seen = x.detach().numpy()
    step = (seen.max() - seen.min()) / 255
    zero = np.rint(-seen.min() / step)
    rounded = (np.clip(np.rint(seen / step) + zero, 0, 255) - zero) * step
    expected = rounded @ (whole * scales).T + plain.bias.detach().numpy()
    assert np.abs(got.detach().numpy() - expected).max() < 1e-5
    got.sum().backward()
    assert x.grad is not None
    assert plain.weight.grad is not None
    assert set(dict(model.named_parameters())) == {"0.weight", "0.bias"}


@pytest.mark.parametrize("kind", [BertForSequenceClassification, BertForTokenClassification])
def test_torch_reference_is_the_model_in_8_bits(save_model: SaveModel, kind: Any) -> None:
    """What torch quantizes answers nearly as the model, for texts and for tokens, from fewer bytes."""
    folder, model = save_model(kind=kind)
    reads: Any = "first" if kind is BertForSequenceClassification else "tokens"
    ids = _texts(1)[0]
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(ids)[None].long()).logits[0].numpy()

    made = torch_dynamic.Quantized(folder, reads=reads, sep_id=None, threads=1)

    assert made.logits_of(ids).shape == expected.shape
    assert np.abs(made.logits_of(ids) - expected).max() < 0.2 * np.abs(expected).max()
    assert made.weights_bytes < 0.6 * sum(value.numel() * 4 for value in model.parameters())


@pytest.mark.parametrize("reads", ["first", "tokens"])
def test_student_learns_to_answer_as_its_teacher(folder: Path, reads: Any) -> None:
    """The loss falls, and losses and weights are the same for any number of threads."""
    results = []
    for threads in (1, 3):
        teacher, model = (student.load(folder, reads=reads) for _ in range(2))
        found = importance.measure(teacher, student.dataset(_texts(8), sep_id=None))
        pruning.cut(model, pruning.choose(found, heads=0.5, channels=0.5))
        rounding.simulate(model, largest=127)
        course = distil.Course(epochs=6, learning_rate=2e-3)
        told: list[int] = []
        losses = distil.follow(
            model,
            teacher,
            student.dataset(_texts(50), sep_id=None),
            course,
            threads=threads,
            told=lambda done, _, told=told: told.append(done),
        )
        results.append((losses, student.tensors_of(model, read_trained(folder)).tensors))

    (losses, one), (others, three) = results
    assert told == list(range(1, 13))
    assert losses[-1] < 0.7 * losses[0]
    assert losses == others
    assert all((one[name] == three[name]).all() for name in one)
    before = read_trained(folder).tensors
    assert (one["bert.embeddings.word_embeddings.weight"] == before["bert.embeddings.word_embeddings.weight"]).all()


def test_rework_sums_on_one_thread(folder: Path) -> None:
    """From the search for what may go on, nothing is summed over several threads: near-ties would go either way."""
    bundle = Bundle(
        heldout=(),
        types=(),
        counts=(),
        calibration=(),
        training=tuple(_texts(4)),
        golden=(),
        golden_texts=None,
        settings=Settings(threads=2, max_length=16, tuning=Tuning(heads=0.5, channels=0.3, learning_rate=1e-3)),
    )
    torch.set_num_threads(2)
    seen: list[int] = []

    rework.reworked("pruned", folder.parent, bundle, tell=lambda _: seen.append(torch.get_num_threads()))

    assert len(seen) > 1
    assert set(seen) == {1}


def test_second_text_has_its_own_type() -> None:
    """Types are 0 up to the first [SEP], 1 after it, and 0 for all where inputs are one text."""
    ids = np.array([1, 7, 3, 8, 9, 3], np.int32)

    types = [student.dataset([ids], sep_id=sep_id).type_ids.tolist() for sep_id in (3, None)]

    assert types == [[0, 0, 0, 1, 1, 1], [0] * 6]


@given(st.integers(1, 80))
def test_every_text_is_learnt_once_in_an_epoch(count: int) -> None:
    """Batches hold every text once, in non-empty parts of rising length."""
    data = student.dataset(_texts(count), sep_id=None)

    parts = [part for batch in student.batches(data, seed=1, size=32, parts=4) for part in batch]

    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert all(len(part) for part in parts)
