"""AdamW and its learning rate."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

BETAS: Final = (0.9, 0.999)
EPSILON: Final = 1e-8
MAX_NORM: Final = 1.0
"""Gradients are scaled down to this norm. Source: Devlin et al., google-research/bert, optimization.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Linear warm-up, then linear decay."""

    peak: float
    total_steps: int
    warmup_ratio: float
    """Share of the steps with rising rate."""


def lr_at(step: int, *, schedule: Schedule) -> float:
    """
    Return the learning rate of one optimizer step.

    Rises linearly from 0 over the warm-up, then falls linearly to 0 at the end.

    Args:
        step: optimizer steps taken before this one, 0-based.
        schedule: peak and lengths.

    Source: Devlin et al. 2018, App. A.2 (arXiv:1810.04805); shape as transformers' ``get_linear_schedule_with_warmup``.

    """
    assert step >= 0, f"step {step} is negative"
    warmup = int(schedule.total_steps * schedule.warmup_ratio)
    if step < warmup:
        return schedule.peak * step / warmup
    return schedule.peak * max(0.0, (schedule.total_steps - step) / max(1, schedule.total_steps - warmup))


def adamw(parameters: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float) -> torch.optim.AdamW:
    """
    Return AdamW over named parameters; the learning rate is set before each step.

    Biases and LayerNorm are not decayed (Source: Devlin et al., google-research/bert, optimization.py).
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in parameters:
        (others if is_undecayed(name) else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=True)
    for parameter in (*decayed, *others):
        # As the first step would make it; made now so that saving and resuming always find it.
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def is_undecayed(name: str) -> bool:
    """Return whether weight decay leaves a parameter alone."""
    return name.endswith(".bias") or ".LayerNorm." in name
