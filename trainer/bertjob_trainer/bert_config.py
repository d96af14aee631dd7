"""A BERT model's ``config.json``: read, checked, written."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from bertjob_api import presets
from bertjob_tasks.errors import ModelFolderError, UnsupportedError

CONFIG: Final = "config.json"
INDEX: Final = "model.safetensors.index.json"
"""Beside it: names the files of weights that were saved in several."""
_SUPPORTED: Final = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
"""Settings that change the computation, with the one value that ``model`` computes; absent means this value."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """Sizes of a BERT model, in Hugging Face's names."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    """None: as ``hidden_dropout_prob``."""
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """
        Return the config in a decoded ``config.json``; what does not change the computation is ignored.

        Raises:
            UnsupportedError: the model computes something that this version does not.
            ModelFolderError: a size is missing or not a number.

        """
        _refuse_unsupported(values)
        found = {field.name: values.get(field.name) for field in dataclasses.fields(cls)}
        missing = [name for name in _required() if found[name] is None]
        if missing:
            raise ModelFolderError(f"{CONFIG}: lacks {', '.join(missing)}; use the config the model was saved with")
        wrong = [name for name, value in found.items() if not isinstance(value, int | float | None)]
        if wrong:
            raise ModelFolderError(f"{CONFIG}: {wrong[0]} is {found[wrong[0]]!r}, expected a number")
        config = cls(**{name: value for name, value in found.items() if value is not None})
        if config.hidden_size % config.num_attention_heads:
            sizes = f"hidden_size {config.hidden_size}, num_attention_heads {config.num_attention_heads}"
            raise ModelFolderError(f"{CONFIG}: {sizes}; expected a width that is a multiple of the heads")
        return config

    def with_dropout(self, probability: float | None) -> Self:
        """Return this config with every dropout set to *probability*; None leaves all as they are."""
        if probability is None:
            return self
        return dataclasses.replace(
            self,
            hidden_dropout_prob=probability,
            attention_probs_dropout_prob=probability,
            classifier_dropout=probability,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the values for ``config.json``."""
        return {"model_type": "bert", "hidden_act": "gelu", **dataclasses.asdict(self)}


def read(folder: Path) -> dict[str, Any]:
    """Return the decoded ``config.json`` of a model folder; raises ModelFolderError."""
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"model folder: has no {CONFIG}; save the model with save_pretrained") from None
    except ValueError as error:
        raise ModelFolderError(f"model folder: {CONFIG} is not JSON ({error}); replace it") from error
    if not isinstance(values, dict):
        raise ModelFolderError(f"model folder: {CONFIG} is not a JSON object; replace it")
    return values


def _required() -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(BertConfig) if field.default is dataclasses.MISSING)


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    # Configs from before model_type existed are BERT's own.
    for name, supported in _SUPPORTED.items():
        got = values.get(name, supported)
        if got != supported:
            raise UnsupportedError(
                f"{CONFIG}: {name} is {got!r}, this version trains {supported!r} only; use another model"
            )


def preset(name: str, *, vocab_size: int) -> BertConfig:
    """
    Return the config of a named size; raises UnsupportedError for an unknown name.

    Heads are 64 wide and the feed-forward layer 4 times the model, in all of them.
    """
    size = presets.SIZES.get(name)
    if size is None:
        raise UnsupportedError(f"spec.model.source: preset {name!r} is unknown, known: {', '.join(presets.SIZES)}")
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.intermediate,
    )
