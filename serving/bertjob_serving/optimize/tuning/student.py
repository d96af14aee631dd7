"""
The trained model as a torch module that can be changed, and texts to run it on.

Shapes: B texts, S tokens, E model width, F feed-forward width, D head width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bertjob_api.spec import Head
from bertjob_serving.optimize.weights import Array, Trained, read_trained
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.task import Reads
from bertjob_trainer import bert_config, export, heads, weights
from bertjob_trainer.data import Dataset


def load(folder: Path, *, reads: Reads) -> Any:
    """Return the model in *folder* without dropout; raises ModelFolderError or UnsupportedError."""
    found = bert_config.read(folder)
    config = bert_config.BertConfig.from_dict(found).with_dropout(0.0)
    hidden = found.get(export.HEAD)
    trained = read_trained(folder)
    bias = trained.tensors.get(f"{trained.output}.bias")
    outputs = 1 if bias is None else bias.shape[0]  # without a head nothing asks for it
    model = heads.build(config, num_labels=outputs, head=Head(**hidden) if hidden else Head(), seed=0, reads=reads)
    weights.load(model, folder, with_head=True)
    return model.eval()


def tensors_of(model: nn.Module, trained: Trained) -> Trained:
    """Return *trained* with the weights of *model*."""
    state = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in model.state_dict().items()}
    return replace(trained, tensors=state)


def layers_of(model: Any) -> Sequence[Any]:
    """Return the encoder layers of a model that ``load`` returned."""
    layers: Sequence[Any] = list(model.bert.encoder.layer)
    return layers


def dataset(texts: Iterable[Array], *, sep_id: int | None) -> Dataset:
    """Return *texts*, token ids (S,), for batches; *sep_id* as in ``graph.build``."""
    inputs = [Encoded(ids=ids, type_ids=_types(ids, sep_id)) for ids in texts]
    return Dataset.of(inputs, np.zeros(len(inputs), np.int64), pad_id=0)


def _types(ids: Array, sep_id: int | None) -> Array:
    """Return (S,) int32: 1 for the tokens of the second text, 0 up to the first [SEP]."""
    if sep_id is None:
        return np.zeros_like(ids)
    found = (ids == sep_id).astype(np.int32)
    types: Array = np.minimum(np.cumsum(found) - found, 1).astype(np.int32)
    return types


def batches(data: Dataset, *, seed: int, size: int, parts: int) -> Iterator[list[Array]]:
    """
    Yield one pass over *data*, shuffled by *seed*: sample numbers of each batch, in *parts* of similar lengths.

    Parts may be empty where the last batch is small; those are left out.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        ascending = batch[np.argsort(data.lengths[batch], kind="stable")]
        yield [part for part in np.array_split(ascending, parts) if len(part)]


def run(model: Any, data: Dataset, samples: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the outputs (B, C) or (B, S, C) of some samples, and a mask (B, 1) or (B, S, 1) of those that count, as floats."""
    batch = data.batch(samples, device=torch.device("cpu"))
    outputs = model(batch.ids, batch.type_ids, batch.mask)
    if outputs.dim() == 2 or batch.mask is None:
        return outputs, torch.ones(*outputs.shape[:-1], 1)
    return outputs, batch.mask[..., None].float()
