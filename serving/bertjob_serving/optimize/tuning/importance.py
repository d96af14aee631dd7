"""
How much each attention head and feed-forward channel matters to the outputs.

A part's importance is the mean square, over texts, of how the outputs move when the part is scaled: the diagonal of J^T J for a
scale on each part, estimated with one random direction of signs for each text. It needs no labels and fits every task.

Source: Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (arXiv:1905.10650), scales on heads; Kwon et al. 2022, "A
Fast Post-Training Pruning Framework for Transformers" (arXiv:2204.09656), squared gradients of scales on heads and channels.
Shapes: B texts, S tokens of the longest, T tokens of all, E model width, F feed-forward width, N heads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from bertjob_serving.optimize.tuning import student
from bertjob_serving.optimize.weights import Array
from bertjob_trainer.data import Dataset

_SEED: Final = 20190524
_BATCH: Final = 8
TEXTS: Final = 256
"""Enough for a ranking: more hardly change it (Source: Michel et al. 2019, section 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Of the parts of one layer; more is more important."""

    heads: Array
    """(N,)."""
    channels: Array
    """(F,)."""


def measure(model: Any, data: Dataset) -> list[Importance]:
    """Return the importance of the parts of each layer, on up to ``TEXTS`` texts of *data*."""
    layers = student.layers_of(model)
    places = [part for layer in layers for part in (layer.attention.output.dense, layer.output.dense)]
    sums = [torch.zeros(place.in_features) for place in places]
    heads = [torch.zeros(layer.attention.self.num_heads) for layer in layers]
    signs = torch.Generator().manual_seed(_SEED)
    for samples in np.array_split(np.arange(min(len(data), TEXTS)), -(-min(len(data), TEXTS) // _BATCH)):
        with _inputs(places) as seen:
            outputs, counted = student.run(model, data, samples)
        direction = torch.randint(0, 2, outputs.shape, generator=signs) * 2.0 - 1.0
        gradients = torch.autograd.grad((outputs * direction * counted).sum(), seen)
        lengths = torch.from_numpy(data.lengths[samples])
        moved = [_of_texts(x.detach() * gradient, lengths) for x, gradient in zip(seen, gradients, strict=True)]
        for index, change in enumerate(moved):
            sums[index] += change.square().sum(dim=0)
        for index, change in enumerate(moved[::2]):
            heads[index] += change.unflatten(1, (len(heads[index]), -1)).sum(dim=2).square().sum(dim=0)
    return [
        Importance(heads=head.numpy(), channels=channel.numpy())
        for head, channel in zip(heads, sums[1::2], strict=True)
    ]


def _of_texts(values: Tensor, lengths: Tensor) -> Tensor:
    """Return the sums (B, E) over each text of values (B, S, E), (B, E) of first tokens, or (T, E) of all tokens of all texts."""
    if values.dim() == 3:
        return values.sum(dim=1)
    if len(values) == len(lengths):
        return values
    texts = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    return values.new_zeros(len(lengths), values.shape[1]).index_add_(0, texts, values)


@contextmanager
def _inputs(places: list[Any]) -> Iterator[list[Tensor]]:
    """Collect what goes into each of *places* while the block runs, in their order of use."""
    seen: list[Tensor] = []

    def collect(_module: Any, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    handles = [place.register_forward_pre_hook(collect) for place in places]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
