"""AdamW and its learning rate."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

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


class AdamW:
    """
    ``torch.optim.AdamW`` with its fused kernel, to the last bit, for float32 parameters of one device.

    Torch's own class loads torch's compiler first, which takes each process 3 s of processor time and 0.1 GB (measured, torch 2.13).
    Source: Loshchilov and Hutter 2017 (arXiv:1711.05101).
    """

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        """Start; each of *groups* has ``params`` and ``weight_decay``."""
        self.param_groups = [{**group, "lr": 0.0} for group in groups]
        """With ``lr``, which is set before each step."""
        self.state: dict[Tensor, dict[str, Tensor]] = {
            parameter: {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
            for group in groups
            for parameter in group["params"]
        }

    def step(self) -> None:
        """Change all parameters that have a gradient."""
        with torch.no_grad():
            for group in self.param_groups:
                self._step(group)

    def _step(self, group: dict[str, Any]) -> None:
        changed = [each for each in group["params"] if each.grad is not None]
        if changed:
            moments = [self.state[each] for each in changed]
            steps = [each["step"] for each in moments]
            torch._foreach_add_(steps, 1.0)  # torch offers its kernels by no other name
            torch._fused_adamw_(
                changed,
                [each.grad for each in changed],
                [each["exp_avg"] for each in moments],
                [each["exp_avg_sq"] for each in moments],
                [],
                steps,
                amsgrad=False,
                lr=group["lr"],
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=group["weight_decay"],
                eps=EPSILON,
                maximize=False,
                grad_scale=None,
                found_inf=None,
            )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.state:
            parameter.grad = None


def adamw(parameters: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float) -> AdamW:
    """
    Return AdamW over named parameters; the learning rate is set before each step.

    Biases and LayerNorm are not decayed (Source: Devlin et al., google-research/bert, optimization.py).
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in parameters:
        (others if is_undecayed(name) else decayed).append(parameter)
    return AdamW([{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}])


def is_undecayed(name: str) -> bool:
    """Return whether weight decay leaves a parameter alone."""
    return name.endswith(".bias") or ".LayerNorm." in name
