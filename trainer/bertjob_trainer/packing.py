"""
Tokens without their padding.

Of short texts of unlike lengths a fifth and more of a padded batch is padding (SST-2 in batches of 32 of eight sorted steps: 22 %).
Every layer but attention looks at tokens one by one, so those layers get the tokens alone, one after another.

Shapes: B inputs of up to L tokens, T tokens in all, E width.

Source: Zeng et al. 2022 (arXiv:2208.08124), there called unpadding.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _Pack(torch.autograd.Function):  # type: ignore[misc]
    """Rows by number, each number once: so backward writes rows, where torch's own would add them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:
        """Return ``x[places]``."""
        ctx.save_for_backward(places)
        ctx.rows = x.shape[0]
        return x.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of x."""
        (places,), (gradient,) = ctx.saved_tensors, gradients
        return gradient.new_zeros(ctx.rows, gradient.shape[1]).index_copy_(0, places, gradient), None


class _Unpack(torch.autograd.Function):  # type: ignore[misc]
    """The way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, rows: int) -> Tensor:
        """Return so many rows: those of *x* at their *places*, the others 0."""
        ctx.save_for_backward(places)
        return x.new_zeros(rows, x.shape[1]).index_copy_(0, places, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of x."""
        (places,), (gradient,) = ctx.saved_tensors, gradients
        return gradient.index_select(0, places), None, None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packing:
    """Where the tokens of a padded batch stand."""

    mask: Tensor
    """(B, L), True at tokens."""
    places: Tensor
    """(T,) numbers of the tokens among B * L."""
    firsts: Tensor
    """(B,) numbers of each input's first token among T."""

    @classmethod
    def of(cls, mask: Tensor) -> "Packing":
        """Return the packing of inputs with this mask, (B, L); each has a token."""
        lengths = mask.sum(dim=1)
        places = mask.flatten().nonzero().flatten()
        return cls(mask=mask, places=places, firsts=lengths.cumsum(0) - lengths)

    @property
    def offsets(self) -> Tensor:
        """Return (B + 1,) numbers of each input's first token, and T."""
        return functional.pad(self.firsts, (0, 1), value=len(self.places))

    def pack(self, x: Tensor) -> Tensor:
        """Return the tokens (T, E) of (B, L, E)."""
        packed: Tensor = _Pack.apply(x.flatten(0, 1), self.places)
        return packed

    def unpack(self, x: Tensor) -> Tensor:
        """Return (B, L, E), 0 at padding, of tokens (T, E)."""
        wide: Tensor = _Unpack.apply(x, self.places, self.mask.numel())
        return wide.unflatten(0, self.mask.shape)
