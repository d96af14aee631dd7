"""One BERT with random weights, as our engines have it. Speed and size do not depend on what the weights say."""

import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.int8.timing import Array
from transformers import BertConfig, BertForSequenceClassification

from bertjob_serving import engine
from bertjob_serving.optimize import magnitude, making
from bertjob_serving.optimize.recipes import RECIPES
from bertjob_serving.optimize.tuning import pruning, student
from bertjob_serving.optimize.tuning.importance import Importance
from bertjob_serving.optimize.weights import Trained, read_trained

HEADS, CHANNELS = 0.25, 0.5
"""Shares that pruning leaves out by default."""
LONGEST: Final = 256
"""Tokens of the longest text."""
REFERENCE: Final = "reference"
"""Folder of the model as transformers has it."""
ZEROS: Final = "magnitude-onnx"
_TEXTS: Final = 32
_WORDS: Final = "bert.embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the model."""

    layers: int
    width: int
    vocabulary: int = 30_522


SHAPES: Final[Mapping[str, Shape]] = {
    "base": Shape(layers=12, width=768),
    "mini": Shape(layers=6, width=384),
    "tiny": Shape(layers=2, width=128),
}
"""BERT-base, MiniLM-L6, and one to try the benchmark out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What can be timed."""

    infer: Callable[[Array], Any]
    """Logits of token ids (S,)."""
    size_bytes: int
    """Of the weights at rest."""


def reference(shape: Shape, folder: Path) -> Any:
    """Return a model of *shape* as transformers has it, saved below *folder*."""
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
    once(folder / REFERENCE, model.save_pretrained)
    return model


def eager(model: Any) -> Callable[[Array], Any]:
    """Return what asks a model of transformers."""

    def infer(ids: Array) -> Any:
        with torch.inference_mode():
            return model(input_ids=torch.from_numpy(ids)[None].long()).logits[0].numpy()

    return infer


def once(target: Path, make: Callable[[Path], object]) -> Path:
    """Return the folder *target*, made unless an earlier run left all of it."""
    if not target.is_dir():
        fresh = target.with_name(f"{target.name}.new-{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        make(fresh)
        fresh.rename(target)
    return target


def candidate(name: str, folder: Path, *, threads: int) -> Built:
    """Return one of our candidates of the model in *folder*, made as the optimize step makes it, but for the fine-tune."""
    recipe = RECIPES[name]
    target = once(folder / name, lambda fresh: making.make(recipe, _ingredients(name, folder), fresh))
    library = engine.library(recipe.engine)
    own = library.compiled(target, threads=threads)
    return Built(infer=own.logits_of, size_bytes=(target / library.WEIGHTS).stat().st_size)


def _ingredients(name: str, folder: Path) -> making.Ingredients:
    trained = read_trained(folder / REFERENCE)
    if name == ZEROS:
        trained = magnitude.zeroed(trained)
    elif RECIPES[name].weights == "pruned":
        trained = _pruned(folder / REFERENCE)
    return making.Ingredients(
        trained=trained.shortened(LONGEST),
        reads="first",
        sep_id=None,
        calibration=calibration(trained.tensors[_WORDS].shape[0]),
    )


def calibration(vocabulary: int) -> tuple[Array, ...]:
    """Return token ids (S,) of texts that say nothing, to measure ranges on."""
    rng = np.random.default_rng(0)
    return tuple(rng.integers(1000, vocabulary, 32).astype(np.int32) for _ in range(_TEXTS))


def _pruned(folder: Path) -> Trained:
    """Return the model without the default shares of heads and channels, drawn by chance."""
    trained = read_trained(folder)
    model, rng = student.load(folder, reads="first"), np.random.default_rng(0)
    heads = trained.config.heads
    channels = trained.tensor("bert.encoder.layer.0.intermediate.dense.bias", None).shape[0]
    chance = [Importance(heads=rng.random(heads), channels=rng.random(channels)) for _ in range(trained.config.layers)]
    pruning.cut(model, pruning.choose(chance, heads=HEADS, channels=CHANNELS))
    return student.tensors_of(model, trained)


def packed_ratio(folder: Path) -> float:
    """Return the packed bytes of the INT8 model with zeros over those of the one without; both are built."""
    zeros, plain = (
        len(zlib.compress((folder / name / "model.onnx").read_bytes(), 6)) for name in (ZEROS, "dynamic-onnx")
    )
    return zeros / plain
