"""
Dropout that costs little on a CPU.

torch draws one number of its generator for each element, which takes as long as a tenth of all matrix products of a small
BERT; here one draw serves four elements.
"""

import torch
from torch import Tensor
from torch.nn import functional

from bertjob_trainer.module import Module

_STEPS = 1 << 16
"""Probabilities are rounded to multiples of 1 / 65536, which no training can tell."""


class Dropout(Module):
    """``torch.nn.Dropout``; on a CPU by other random numbers of the same generator."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return *x* with elements set to 0 at random while training."""
        return dropped(x, self.probability) if self.training else x


def dropped(x: Tensor, probability: float) -> Tensor:
    """Return *x* with each element 0 with the given probability, else divided by 1 - probability."""
    if probability == 0.0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, probability)
    return x * keep_mask(x, probability)


def keep_mask(x: Tensor, probability: float) -> Tensor:
    """Return factors in the shape and type of *x*: 0, or the reciprocal of the true share of those that stay."""
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    lanes = bits.view(torch.int16)[: x.numel()].view(x.shape)
    dropped_steps = round(probability * _STEPS)
    return (lanes >= dropped_steps - _STEPS // 2).to(x.dtype).mul_(_STEPS / (_STEPS - dropped_steps))
