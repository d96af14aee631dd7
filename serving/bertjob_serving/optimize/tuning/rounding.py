"""
Linear layers that compute as INT8 will: inputs and weights rounded to 8 bits, gradients as if they were not.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
(arXiv:1712.05877); Bengio et al. 2013 (arXiv:1308.3432), the straight-through estimator.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class RoundedLinear(nn.Linear):  # type: ignore[misc]
    """A linear layer whose weights have one scale per output, and whose inputs have one range for all."""

    largest: int
    """Greatest whole weight."""

    @classmethod
    def of(cls, linear: nn.Linear, *, largest: int) -> "RoundedLinear":
        """Return the layer with the same parameters."""
        made = cls(linear.in_features, linear.out_features, device="meta")
        made.weight, made.bias, made.largest = linear.weight, linear.bias, largest
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out) of (..., in)."""
        return functional.linear(_rounded_input(x), _rounded_weight(self.weight, self.largest), self.bias)


def simulate(model: Any, *, largest: int) -> None:
    """Let every linear layer of *model* round, in place; names and parameters stay."""
    found = [
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if _is_plain(child)
    ]
    for parent, name in found:
        setattr(parent, name, RoundedLinear.of(getattr(parent, name), largest=largest))


def _is_plain(module: nn.Module) -> bool:
    return type(module) is nn.Linear


def _rounded_weight(weight: Tensor, largest: int) -> Tensor:
    scale = (weight.detach().abs().amax(dim=1, keepdim=True) / largest).clamp_min(1e-12)
    whole = (weight.detach() / scale).round()
    return weight + (whole * scale - weight.detach())


def _rounded_input(x: Tensor) -> Tensor:
    seen = x.detach()
    low, high = seen.min().clamp_max(0.0), seen.max().clamp_min(0.0)
    scale = ((high - low) / 255).clamp_min(1e-12)
    zero = (-low / scale).round()
    whole = ((seen / scale).round() + zero).clamp(0, 255) - zero
    return x + (whole * scale - seen)
