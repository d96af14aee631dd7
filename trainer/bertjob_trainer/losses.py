"""
Losses in fp32, summed over their targets, so that a step's mean is the same however its samples are dealt to processes.

Shapes: B inputs, L tokens, C outputs.
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from bertjob_tasks.task import IGNORED, Loss

SCALE: Final = 20.0
"""Inverse temperature of cosines that are told apart."""


def classes(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of logits (B, C) and class numbers (B,), or (B, L, C) and (B, L) without the ignored."""
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, targets.flatten(), reduction="sum", ignore_index=IGNORED)


def flags(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits (B, C) and flags (B, C): the mean over C, summed over B."""
    return functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / targets.shape[-1]


def values(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of outputs (B, C) and targets (B, C): the mean over C, summed over B."""
    return functional.mse_loss(outputs.float(), targets, reduction="sum") / targets.shape[-1]


def spans(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of a span's two ends: logits (B, L, 2), token numbers (B, 2)."""
    return functional.cross_entropy(logits.float(), targets, reduction="sum") / 2


def words_and_order(outputs: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the cross-entropies of hidden tokens, (M, V) and (M,), and of pairs of texts, (B, 2) and (B,)."""
    return classes(outputs[0], targets[0]), classes(outputs[1], targets[1])


def cosine(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of the cosine of pairs of vectors (B, 2, E) of length 1 and targets (B,), summed over B."""
    first, second = vectors.float().unbind(1)
    return functional.mse_loss((first * second).sum(-1), targets, reduction="sum")


def contrastive(vectors: Tensor, targets: Tensor) -> Tensor:
    """
    Return the cross-entropy of which second vector belongs to each first one, (B, 2, E) of length 1, summed over B.

    The others of the micro-batch are the wrong ones, so that the loss is the same however micro-batches are dealt to processes.
    Source: van den Oord et al. 2018 (arXiv:1807.03748); scale as in sentence-transformers' MultipleNegativesRankingLoss.
    """
    first, second = vectors.float().unbind(1)
    own = torch.arange(len(targets), device=vectors.device)
    return functional.cross_entropy(SCALE * first @ second.T, own, reduction="sum")


OF: Final[Mapping[Loss, Callable[..., Tensor | tuple[Tensor, ...]]]] = {
    "classes": classes,
    "flags": flags,
    "values": values,
    "spans": spans,
    "cosine": cosine,
    "contrastive": contrastive,
    "words-and-order": words_and_order,
}
"""Outputs and targets to the sum of each part of the loss."""
