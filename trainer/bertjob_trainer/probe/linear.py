"""
Linear models by full-batch optimization; the same numbers always give the same model.

Shapes: N rows, D features, C outputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from bertjob_tasks.task import Loss

_STEPS: Final = 200
_PENALTY: Final = 1.0
"""Of the squared weights, against the sum over all rows, on features of variance 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Outputs ``(x - mean) / scale @ weight + bias``."""

    mean: Tensor
    """(D,)."""
    scale: Tensor
    """(D,)."""
    weight: Tensor
    """(D, C)."""
    bias: Tensor
    """(C,)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return outputs (..., C) of features (..., D)."""
        found: Tensor = (x - self.mean) / self.scale @ self.weight + self.bias
        return found


def fit(x: Tensor, targets: Tensor, *, loss: Loss, width: int) -> Linear:
    """
    Return the linear model of features (N, D) that fits best.

    Logistic regression for classes (N,) and for flags (N, C), ridge regression for values (N, C); penalized weights.

    Args:
        x: features, float32.
        targets: what the task's loss compares with.
        loss: which regression.
        width: outputs C.

    """
    mean, scale = x.mean(dim=0), x.std(dim=0, unbiased=False).clamp_min(1e-6)
    z = (x - mean) / scale
    if loss == "values":
        return Linear(mean, scale, *_ridge(z, targets))
    return Linear(mean, scale, *_logistic(z, targets, _LOSSES[loss], width=width))


def _ridge(z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Features are centred, so the bias is the mean of the targets. Source: Hoerl and Kennard 1970, "Ridge Regression"."""
    bias = targets.mean(dim=0)
    gram = z.T.double() @ z.double() + _PENALTY * torch.eye(z.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, z.T.double() @ (targets - bias).double())
    return weight.float(), bias


def _logistic(
    z: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], *, width: int
) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(z.shape[1], width, requires_grad=True)
    bias = torch.zeros(width, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = (loss(z @ weight + bias, targets) + _PENALTY / 2 * weight.square().sum()) / len(z)
        value.backward()
        return value

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def _classes(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="sum")


def _flags(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")


_LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {"classes": _classes, "flags": _flags}
"""Summed over the rows."""
