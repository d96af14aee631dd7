"""
Attention heads and feed-forward channels, left out: which is decided by their importance, over all layers at once.

What is left is a smaller dense model, so that every engine is faster with it. Zeroing single weights instead makes a file smaller
that somebody packs, and no engine here faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from bertjob_serving.optimize.tuning import student
from bertjob_serving.optimize.tuning.importance import Importance
from bertjob_serving.optimize.weights import Array

GROUP: Final = 32
"""Channels of a layer are kept in multiples of this: kernels compute in such blocks, and the rest of one would be wasted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is left of one layer, ascending."""

    heads: tuple[int, ...]
    channels: tuple[int, ...]


def choose(found: Sequence[Importance], *, heads: float, channels: float) -> list[Kept]:
    """
    Return what is kept of each layer.

    Args:
        found: importance of the parts of each layer.
        heads: share of all heads to leave out; every layer keeps at least one.
        channels: share of all channels to leave out; every layer keeps a multiple of ``GROUP``, or all where it has fewer.

    """
    kept_heads = _kept([layer.heads for layer in found], share=heads, group=1)
    kept_channels = _kept([layer.channels for layer in found], share=channels, group=GROUP)
    return [Kept(heads=head, channels=channel) for head, channel in zip(kept_heads, kept_channels, strict=True)]


def _kept(scores: Sequence[Array], *, share: float, group: int) -> list[tuple[int, ...]]:
    """Return the most important indices of each layer: those above the quantile over all, in whole groups, one at least."""
    limit = np.quantile(np.concatenate(scores), share)
    counts = [max(1, -(-int((layer >= limit).sum()) // group)) * group for layer in scores]
    orders = [np.lexsort((np.arange(len(layer)), -layer)) for layer in scores]
    return [tuple(sorted(order[:count].tolist())) for order, count in zip(orders, counts, strict=True)]


def cut(model: Any, kept: Sequence[Kept]) -> None:
    """Leave out of *model*, in place, what is not *kept*."""
    for layer, left in zip(student.layers_of(model), kept, strict=True):
        attention = layer.attention.self
        width = attention.query.out_features // attention.num_heads
        rows = torch.tensor([head * width + place for head in left.heads for place in range(width)])
        for name in ("query", "key", "value"):
            setattr(attention, name, _outputs(getattr(attention, name), rows))
        attention.num_heads = len(left.heads)
        layer.attention.output.dense = _inputs(layer.attention.output.dense, rows)
        channels = torch.tensor(left.channels)
        layer.intermediate.dense = _outputs(layer.intermediate.dense, channels)
        layer.output.dense = _inputs(layer.output.dense, channels)


def _outputs(linear: nn.Linear, rows: torch.Tensor) -> nn.Linear:
    """Return the layer with some of its outputs."""
    return _linear(linear.weight[rows], linear.bias[rows])


def _inputs(linear: nn.Linear, columns: torch.Tensor) -> nn.Linear:
    """Return the layer with some of its inputs."""
    return _linear(linear.weight[:, columns], linear.bias)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight = nn.Parameter(weight.detach().clone())
    made.bias = nn.Parameter(bias.detach().clone())
    return made
