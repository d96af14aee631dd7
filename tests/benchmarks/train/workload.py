"""What both sides train: texts of real lengths as token ids, and a BERT with random weights."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers.implementations import BertWordPieceTokenizer

from bertjob_tasks.encoding import Encoded
from bertjob_trainer.data import Dataset
from bertjob_trainer.order import random_numbers

DATA_ENV: Final = "BERTJOB_DATA"
PAD_TO: Final = 128
_QUANTILES: Final = (3, 4, 5, 7, 9, 11, 14, 18, 23, 31, 68)
"""Tokens of SST-2's training texts, specials included, at 0, 10, ... 100 % of them; used where the texts are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is trained."""

    config: Mapping[str, Any]
    """``config.json`` of the model."""
    samples: int
    """Of one run, one epoch."""
    batch: int
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    seed: int = 1


def _config(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


BASE: Final = Size(config=_config(12, 768, 12), samples=256, batch=32)
SMALL: Final = Size(config=_config(2, 128, 2), samples=128, batch=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Token ids with a class each."""

    source: str
    """Where the lengths come from, for people."""
    inputs: tuple[Encoded, ...]
    labels: NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """Return the tokens of all texts, padding not counted."""
        return sum(len(each.ids) for each in self.inputs)

    @property
    def fill(self) -> float:
        """Return the share of real tokens when all are padded to ``PAD_TO``."""
        return self.tokens / (PAD_TO * len(self.inputs))

    def dataset(self) -> Dataset:
        """Return them as training has them."""
        return Dataset.of(self.inputs, self.labels, pad_id=0)


def texts(size: Size) -> Texts:
    """Return as many texts as a run has: SST-2's below $BERTJOB_DATA, else random ones of its lengths."""
    folder = os.environ.get(DATA_ENV)
    if folder is not None:
        return _sst2(Path(folder), size)
    shares = random_numbers(size.samples, size.seed).astype(np.float64) / 2.0**64
    lengths = np.interp(shares, np.linspace(0, 1, len(_QUANTILES)), _QUANTILES).astype(int)
    ids = [random_numbers(length, size.seed, number) % 29000 + 1000 for number, length in enumerate(lengths)]
    labels = (random_numbers(size.samples, size.seed, 0, 0) % 2).astype(np.int64)
    return Texts(source="random tokens, lengths of SST-2", inputs=tuple(map(_encoded, ids)), labels=labels)


def _sst2(folder: Path, size: Size) -> Texts:
    vocabulary = folder / "vocab" / "bert-base-uncased-vocab.txt"
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    tokenizer.enable_truncation(PAD_TO)
    lines = (folder / "text-classification" / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    chosen = np.argsort(random_numbers(len(lines), size.seed))[: size.samples]
    rows = [lines[number].rsplit("\t", 1) for number in chosen]
    ids = [np.array(tokenizer.encode(text).ids) for text, _ in rows]
    return Texts(source="SST-2", inputs=tuple(map(_encoded, ids)), labels=np.array([int(label) for _, label in rows]))


def _encoded(ids: NDArray[Any]) -> Encoded:
    return Encoded(ids.astype(np.int32), np.zeros(len(ids), dtype=np.int32))
