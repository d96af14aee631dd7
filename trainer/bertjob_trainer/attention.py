"""
Attention of tokens to tokens, by what is fastest on the device.

Shapes: B inputs, L tokens, T tokens of all inputs without padding, Q of those asking, H heads, D head width.
"""

import torch
from torch import Tensor
from torch.nn import functional

from bertjob_trainer.dropout import dropped, keep_mask
from bertjob_trainer.packing import Packing


def attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, dropout: float, share: tuple[int, int]) -> Tensor:
    """
    Return mixed values (B, H, Q, D) of q (B, H, Q, D), k and v (B, H, L, D).

    Args:
        q: what the asking tokens look for.
        k: what all tokens offer.
        v: what is mixed.
        mask: (B, 1, 1, L), True at tokens; None: all are.
        dropout: share of weights that are 0.
        share: which of how many shares of all heads these are.

    """
    if dropout > 0.0 and q.device.type == "cpu":
        return attend_with_dropout(q, k, v, mask=mask, probability=dropout, share=share)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def attend_packed(q: Tensor, k: Tensor, v: Tensor, *, packing: Packing, heads: int, dropout: float) -> Tensor:
    """Return mixed values (T, H * D) of packed q, k and v, each (T, H * D): no padding is ever made, by torch's jagged tensors."""

    def jagged(x: Tensor) -> Tensor:
        # The longest is given, since asking the device for it would wait for all its work.
        nested = torch.nested.nested_tensor_from_jagged(
            x.unflatten(-1, (heads, -1)), packing.offsets, min_seqlen=1, max_seqlen=packing.mask.shape[1]
        )
        return nested.transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(jagged(q), jagged(k), jagged(v), dropout_p=dropout)
    return mixed.transpose(1, 2).values().flatten(1)


def attend_with_dropout(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, probability: float, share: tuple[int, int] = (0, 1)
) -> Tensor:
    """
    Return what ``attend`` does.

    torch has no fused kernel for dropout on a CPU, and its fallback takes more passes over the scores than these.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, Q, L)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(dim=-1)
    place, shares = share
    if shares == 1:
        return dropped(weights, probability) @ v
    # The numbers of all heads are drawn, so that dropout is the same however heads are spread.
    inputs, heads, *rest = weights.shape
    keep = keep_mask(weights.new_empty(inputs, heads * shares, *rest), probability)
    return (weights * keep.chunk(shares, dim=1)[place]) @ v
