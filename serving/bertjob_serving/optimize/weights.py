"""The trained model as read from its folder: hyperparameters, labels and float32 tensors under Hugging Face names."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

Array = np.ndarray[Any, np.dtype[Any]]

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
WORDS: Final = "bert.embeddings.word_embeddings.weight"
ACTIVATIONS: Final = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """What the graph needs of ``config.json``."""

    layers: int
    hidden_size: int
    heads: int
    max_positions: int
    layer_norm_eps: float
    activation: str
    """One of ``ACTIVATIONS``; of the feed-forward blocks."""
    labels: tuple[str, ...]
    """In the order of the outputs."""

    @property
    def head_size(self) -> int:
        """Return the width of an attention head."""
        return self.hidden_size // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained classifier."""

    config: BertConfig
    tensors: Mapping[str, Array]
    """float32, C-contiguous, keyed by ``bert.*``, ``classifier.*`` or ``qa_outputs.*``, and ``head.*``."""
    word_rows: Array | None = None
    """(V,) int32: which row of the word embeddings each token id has; None: the one of its number."""

    def tensor(self, name: str, *shape: int | None) -> Array:
        """Return the tensor *name*; raises ValueError unless it has that *shape*, where None is any size."""
        tensor = self.tensors.get(name)
        if tensor is None:
            message = f"{WEIGHTS}: has no tensor {name}; expected the names of transformers, export the model again"
            raise ValueError(message)
        if len(tensor.shape) != len(shape) or any(
            want not in (None, got) for got, want in zip(tensor.shape, shape, strict=True)
        ):
            message = (
                f"{WEIGHTS}: {name} has shape {tensor.shape}, expected {shape} from config.json; export the model again"
            )
            raise ValueError(message)
        return tensor

    def joined(self, base: str, names: Sequence[str]) -> tuple[Array, Array]:
        """Return weight (out, H) and bias (out,) of several attention projections of one layer, one after another."""
        width = self.config.hidden_size
        weight = np.concatenate([self.tensor(f"{base}.{name}.weight", None, width) for name in names])
        bias = np.concatenate([self.tensor(f"{base}.{name}.bias", None) for name in names])
        return weight, bias

    def shortened(self, tokens: int) -> "Trained":
        """Return the model for texts of at most *tokens*: positions that no text reaches are left out."""
        name, count = "bert.embeddings.position_embeddings.weight", min(tokens, self.config.max_positions)
        table = self.tensor(name, self.config.max_positions, self.config.hidden_size)
        config = replace(self.config, max_positions=count)
        return replace(self, config=config, tensors={**self.tensors, name: np.ascontiguousarray(table[:count])})

    def trimmed(self, kept: Sequence[int], *, unknown: int) -> "Trained":
        """
        Return the model with the word embeddings of the token ids *kept* alone.

        Args:
            kept: ascending; holds *unknown*.
            unknown: id whose embedding all others get.

        """
        words = self.tensor(WORDS, None, self.config.hidden_size)
        rows = np.full(len(words), list(kept).index(unknown), np.int32)
        rows[list(kept)] = np.arange(len(kept), dtype=np.int32)
        tensors = {**self.tensors, WORDS: np.ascontiguousarray(words[list(kept)])}
        return replace(self, tensors=tensors, word_rows=rows)

    @property
    def output(self) -> str:
        """Return the name of the head's last layer."""
        return "qa_outputs" if "qa_outputs.weight" in self.tensors else "classifier"

    def layer_heads(self, base: str) -> int:
        """Return the attention heads of one layer, ``{base}.query``: fewer than the configuration says in a pruned model."""
        rows: int = self.tensor(f"{base}.query.weight", None, None).shape[0]
        return rows // self.config.head_size


def read_trained(folder: Path) -> Trained:
    """
    Return the model in a Hugging Face folder.

    Raises:
        ValueError: a file is missing or unreadable, or the model is none that this package can convert.

    """
    config = read_config(folder / CONFIG)
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, TypeError, AttributeError) as error:
        message = f"{path}: cannot be read as float tensors ({error}); expected safetensors in float32 or float16, export the model again"
        raise ValueError(message) from error
    return Trained(config=config, tensors={_own_name(name): _float32(tensor) for name, tensor in tensors.items()})


def _own_name(name: str) -> str:
    """Return the name with the prefix that a bare encoder's weights lack."""
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name


def read_config(path: Path) -> BertConfig:
    """Return the hyperparameters; raises ValueError when the model is no absolute-position BERT encoder."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        config = _config(value)
    except (OSError, KeyError, TypeError, ValueError) as error:
        message = (
            f"{path}: cannot be read as the configuration of a BERT classifier ({error!r}); export the model again"
        )
        raise ValueError(message) from error
    _require(path, "model_type", value.get("model_type"), ("bert",))
    _require(path, "hidden_act", config.activation, ACTIVATIONS)
    _require(path, "position_embedding_type", value.get("position_embedding_type", "absolute"), ("absolute",))
    _require(path, "is_decoder", value.get("is_decoder", False), (False,))
    return config


def _config(value: Mapping[str, Any]) -> BertConfig:
    # Source: transformers PretrainedConfig: two labels of these names are not written out.
    named = value.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
    labels = {int(index): str(name) for index, name in named.items()}
    return BertConfig(
        layers=int(value["num_hidden_layers"]),
        hidden_size=int(value["hidden_size"]),
        heads=int(value["num_attention_heads"]),
        max_positions=int(value["max_position_embeddings"]),
        layer_norm_eps=float(value.get("layer_norm_eps", 1e-12)),
        activation=str(value.get("hidden_act", "gelu")),
        labels=tuple(labels[index] for index in range(len(labels))),
    )


def _require(path: Path, key: str, got: object, expected: tuple[object, ...]) -> None:
    if got not in expected:
        wanted = " or ".join(repr(item) for item in expected)
        message = f"{path}: {key} is {got!r}, expected {wanted}; other models cannot be converted yet"
        raise ValueError(message)


def _float32(tensor: Array) -> Array:
    return np.ascontiguousarray(tensor, dtype=np.float32) if np.issubdtype(tensor.dtype, np.floating) else tensor
