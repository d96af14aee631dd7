"""Embeddings that a task's language does not need are left out, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertjob_serving import onnxruntime_engine, openvino_engine
from bertjob_serving.engine import Engine
from bertjob_serving.optimize import graph, int8, ir, onnx_graph
from bertjob_serving.optimize.vocabulary import of_language, script
from bertjob_serving.optimize.weights import Trained, read_trained

SaveModel = Callable[..., tuple[Path, Any]]
TOKENS = ["[PAD]", "[unused0]", "[UNK]", "7", "!", "cat", "##s", "caf\u00e9", "\u043a\u043e\u0442", "\u4e2d", "\u03b1"]


def test_letters_have_scripts() -> None:
    """The script of a letter is known; digits and marks of punctuation have none."""
    assert [script(letter) for letter in "a\u00e9\u043a\u4e2d7!"] == ["LATIN", "LATIN", "CYRILLIC", "CJK", None, None]


def test_words_of_the_language_are_kept() -> None:
    """Kept are words in the scripts of the texts, what has no letters, what the texts have, and what must be there."""
    texts = [
        np.array([5, 6] * 500, np.int32),
        np.array([10], np.int32),
    ]  # one Greek letter among thousands of Latin ones

    found = of_language(TOKENS, texts, always=(0, 2))

    assert [TOKENS[index] for index in found] == ["[PAD]", "[UNK]", "7", "!", "cat", "##s", "caf\u00e9", "\u03b1"]


def test_script_of_many_texts_is_kept_whole() -> None:
    """A language that is written in two scripts keeps both."""
    found = of_language(TOKENS, [np.array([5, 8, 8], np.int32)], always=())

    assert {5, 7, 8} <= set(found)
    assert not {1, 9, 10} & set(found)


def _onnx(trained: Trained, folder: Path, *, is_int8: bool) -> Engine:
    store = onnx_graph.Int8(largest=64) if is_int8 else onnx_graph.Float32()
    onnx_graph.save(onnx_graph.build(trained, store=store), folder)
    return onnxruntime_engine.compiled(folder, threads=1)


def _openvino(trained: Trained, folder: Path, *, is_int8: bool) -> Engine:
    ir.save(graph.build(trained, store=int8.Int8() if is_int8 else graph.Float32()), folder)
    return openvino_engine.compiled(folder, threads=1)


@pytest.mark.parametrize("build", [_onnx, _openvino])
@pytest.mark.parametrize("is_int8", [False, True], ids=["fp32", "int8"])
def test_trimmed_model_answers_as_the_whole_one(
    save_model: SaveModel, tmp_path: Path, build: Callable[..., Engine], is_int8: bool
) -> None:
    """Kept words are looked up as before, all others as the unknown one, and the weights are fewer."""
    trained = read_trained(save_model()[0])
    kept = (3, *range(10, 40), 119)
    ids = np.array([10, 39, 119, 3, 25], np.int32)

    whole = build(trained, tmp_path / "whole", is_int8=is_int8)
    small = build(trained.trimmed(kept, unknown=3), tmp_path / "small", is_int8=is_int8)

    assert np.abs(small.logits_of(ids) - whole.logits_of(ids)).max() < 1e-5
    assert (
        np.abs(small.logits_of(np.array([50, 10], np.int32)) - whole.logits_of(np.array([3, 10], np.int32))).max()
        < 1e-5
    )
    assert len(trained.trimmed(kept, unknown=3).tensors["bert.embeddings.word_embeddings.weight"]) == len(kept)
