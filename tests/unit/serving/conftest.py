"""Small random classifiers in Hugging Face folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Return a function that saves a random classifier and returns its folder and the transformers model."""

    def save(kind: Any = BertForSequenceClassification, **overrides: object) -> tuple[Path, Any]:
        torch.manual_seed(0)
        sizes: dict[str, Any] = {
            "vocab_size": 120,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 96,
            "max_position_embeddings": 64,
            "num_labels": 3,
            "initializer_range": 0.2,
        }
        model = kind(BertConfig(**(sizes | overrides))).eval()
        folder = tmp_path / "model"
        model.save_pretrained(folder)
        return folder, model

    return save
