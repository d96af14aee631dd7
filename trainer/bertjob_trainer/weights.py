"""Weights of a Hugging Face folder into a model, by name."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bertjob_tasks.errors import ModelFolderError
from bertjob_trainer.bert_config import INDEX

WEIGHTS: Final = "model.safetensors"
_NEW: Final = re.compile(r"^(bert\.pooler|head|classifier|qa_outputs|cls)\.")
"""Weights that a source may lack: they start random."""
_FOREIGN: Final = re.compile(r"(^|\.)(cls|classifier|qa_outputs|head|lm_head)\.|^bert\.pooler\.|position_ids$")
"""Weights of other heads, of a pooler where the head needs none, and buffers of old versions; left alone."""

_log = logging.getLogger(__name__)


def load(module: nn.Module, folder: Path, *, with_head: bool) -> tuple[str, ...]:
    """
    Copy the folder's weights into *module* and return the names that the folder does not have, which stay as they are.

    Args:
        module: model whose weights are overwritten in place.
        folder: model folder.
        with_head: take the task head too, if the folder has one of the same shape.

    Raises:
        ModelFolderError: a weight of the encoder is missing, unknown, or of another shape, or a file cannot be read.

    """
    targets: dict[str, Tensor] = dict(module.named_parameters())
    found: set[str] = set()
    for name, value in _tensors(folder):
        own = _own_name(name)
        target = targets.get(own)
        head = own.startswith(("head.", "classifier.", "qa_outputs."))
        if target is None or (head and not (with_head and target.shape == value.shape)):
            if target is None and not _FOREIGN.search(own):
                raise ModelFolderError(
                    f"{WEIGHTS}: {name} is no weight of the model in config.json; files do not match"
                )
            continue
        if target.shape != value.shape:
            got, expected = tuple(value.shape), tuple(target.shape)
            raise ModelFolderError(
                f"{WEIGHTS}: {name} has shape {got}, config.json makes it {expected}; take both files of one model"
            )
        with torch.no_grad():
            target.copy_(value)
        found.add(own)
    return _missing(targets, found)


def _missing(targets: Mapping[str, Tensor], found: set[str]) -> tuple[str, ...]:
    missing = tuple(name for name in targets if name not in found)
    needed = [name for name in missing if not _NEW.match(name)]
    if needed:
        raise ModelFolderError(
            f"{WEIGHTS}: lacks {len(needed)} weights of the encoder, first {needed[0]}; use a full model"
        )
    if missing:
        _log.info("weights not in the source, starting random: %s", ", ".join(missing))
    return missing


def _own_name(name: str) -> str:
    """Return our name of a stored weight: bare encoders have no prefix, TensorFlow's LayerNorm has gamma and beta."""
    renamed = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
    bare = renamed.startswith(("embeddings.", "encoder.", "pooler."))
    return f"bert.{renamed}" if bare else renamed


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in _files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # not a dictionary
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ModelFolderError(f"model folder: {path.name} cannot be read ({error}); download it again") from error


def _files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        weight_map = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        return [folder / Path(name).name for name in sorted(set(weight_map.values()))]
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    hint = f"{pickled[0]} is a pickle, which is never loaded; convert it" if pickled else "add the weights"
    raise ModelFolderError(f"model folder: has no {WEIGHTS}; {hint} (save_pretrained writes safetensors)")
