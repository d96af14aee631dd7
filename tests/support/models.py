"""Small model folders for tests, made on the spot."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from bertjob_api.spec import Head
from bertjob_trainer import heads
from bertjob_trainer.bert_config import BertConfig

VOCAB = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "dog", "ran", "good", "bad", "very", "not",
    "cafe", "##s", "##ly", ".", "!", "\u4e2d", "\u6587",
]  # fmt: skip

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": len(VOCAB),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}


def a_vocab_folder(folder: Path) -> Path:
    """Return *folder* with the files of a lower-casing WordPiece tokenizer."""
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    config = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def a_model_folder(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Return *folder* with tokenizer, config and the random weights of a bare encoder, as ``save_pretrained`` names them."""
    values = {**CONFIG, **config}
    bert = heads.build(BertConfig.from_dict(values), num_labels=2, head=Head(), seed=seed).bert
    save_file(dict(bert.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(values))
    return a_vocab_folder(folder)
