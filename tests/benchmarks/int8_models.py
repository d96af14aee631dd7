"""One BERT with random weights, as every engine and peer has it. Speed and size do not depend on what the weights say."""

import contextlib
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.int8_timing import Array, Infer
from transformers import BertConfig, BertForSequenceClassification

from bertjob_serving import engine
from bertjob_serving.optimize import making
from bertjob_serving.optimize.recipes import RECIPES
from bertjob_serving.optimize.tuning import pruning, student
from bertjob_serving.optimize.tuning.importance import Importance
from bertjob_serving.optimize.weights import Trained, read_trained

HEADS, CHANNELS = 0.25, 0.5
"""Shares that pruning leaves out by default."""
ZEROED: Final = 0.5
"""Share of the weights that magnitude pruning sets to 0."""
LONGEST: Final = 256
"""Tokens of the longest text."""
_TEXTS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the model."""

    layers: int
    width: int
    vocabulary: int = 30_522


SHAPES: Final[Mapping[str, Shape]] = {
    "base": Shape(layers=12, width=768),
    "mini": Shape(layers=6, width=384),
    "tiny": Shape(layers=2, width=128, vocabulary=2000),
}
"""BERT-base, MiniLM-L6, and one to try the benchmark out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What can be timed."""

    infer: Infer
    size_bytes: int
    """Of the weights at rest."""


def reference(shape: Shape, folder: Path) -> Any:
    """Save a model of *shape* in *folder* and return it as transformers has it."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.width // 64 if shape.width >= 512 else shape.width // 32,
        intermediate_size=4 * shape.width,
        num_labels=2,
    )
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    return model


def eager(model: Any) -> Infer:
    """Return what asks a model of transformers."""

    def infer(ids: Array) -> object:
        with torch.inference_mode():
            return model(input_ids=torch.from_numpy(ids)[None].long()).logits

    return infer


def peers(model: Any, fp32_bytes: int) -> dict[str, Built]:
    """Return torch's own ways to run *model*; one that fails here is left out."""
    found = {"hf-eager": Built(infer=eager(model), size_bytes=fp32_bytes)}
    with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
        warnings.simplefilter("ignore")  # torch points to another library
        quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
        infer = eager(quantized)
        infer(np.ones(4, np.int64))
        found["torch-quantize-dynamic"] = Built(infer=infer, size_bytes=_state_bytes(quantized))
    return found


def _state_bytes(model: Any) -> int:
    """Return the bytes of all tensors in a state, those packed by torch's quantization included."""
    total = 0
    for value in model.state_dict().values():
        parts = value if isinstance(value, tuple) else (value,)
        total += sum(part.numel() * part.element_size() for part in parts if isinstance(part, torch.Tensor))
    return total


def candidates(folder: Path, *, threads: int, told: Callable[[str], None]) -> dict[str, Built]:
    """Return our candidates of the model in *folder*, made as the optimize step makes them, but for the fine-tune."""
    trained = read_trained(folder).shortened(LONGEST)
    rng = np.random.default_rng(0)
    texts = tuple(rng.integers(1000, trained.tensors[_WORDS].shape[0], 32).astype(np.int32) for _ in range(_TEXTS))
    kinds = {"trained": trained, "pruned": pruned(folder)}
    found = {}
    for name, recipe in RECIPES.items():
        if recipe.weights not in kinds:
            continue  # the fine-tune changes neither speed nor size
        told(name)
        given = making.Ingredients(trained=kinds[recipe.weights], reads="first", sep_id=None, calibration=texts)
        target = folder / name
        making.make(recipe, given, target)
        library = engine.library(recipe.engine)
        own = library.compiled(target, threads=threads)
        found[name] = Built(infer=own.logits_of, size_bytes=(target / library.WEIGHTS).stat().st_size)
    return found


_WORDS: Final = "bert.embeddings.word_embeddings.weight"


def pruned(folder: Path) -> Trained:
    """Return the model without the default shares of heads and channels, drawn by chance."""
    trained = read_trained(folder)
    model, rng = student.load(folder, reads="first"), np.random.default_rng(0)
    heads, channels = (
        trained.config.heads,
        trained.tensor("bert.encoder.layer.0.intermediate.dense.bias", None).shape[0],
    )
    chance = [Importance(heads=rng.random(heads), channels=rng.random(channels)) for _ in range(trained.config.layers)]
    pruning.cut(model, pruning.choose(chance, heads=HEADS, channels=CHANNELS))
    return student.tensors_of(model, trained).shortened(LONGEST)


def zeroed(folder: Path, *, threads: int) -> tuple[Built, float]:
    """Return the INT8 model with half of its weights set to 0 by magnitude, and its packed bytes over those without zeros."""
    trained = read_trained(folder)
    tensors = {name: _without_small(name, values) for name, values in trained.tensors.items()}
    packed = []
    for name, given in (("dynamic-onnx", trained), ("zeroed", replace(trained, tensors=tensors))):
        made = making.Ingredients(trained=given, reads="first", sep_id=None, calibration=())
        making.make(RECIPES["dynamic-onnx"], made, folder / name)
        packed.append(len(zlib.compress((folder / name / "model.onnx").read_bytes(), 6)))
    own = engine.library("onnxruntime").compiled(folder / "zeroed", threads=threads)
    size = (folder / "zeroed" / "model.onnx").stat().st_size
    return Built(infer=own.logits_of, size_bytes=size), packed[1] / packed[0]


def _without_small(name: str, values: Array) -> Array:
    """Return a matrix of the encoder with its smallest weights set to 0; anything else as it is."""
    if values.ndim != 2 or ".encoder." not in name:
        return values
    return np.where(np.abs(values) > np.quantile(np.abs(values), ZEROED), values, np.float32(0))
