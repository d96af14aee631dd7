"""In which arithmetic forward and backward run. Weights, gradients and optimizer are fp32 always."""

import logging
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import torch

from bertjob_api.spec import Precision
from bertjob_tasks.errors import UnsupportedError
from bertjob_trainer.group import Group

_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})
"""CPU flags of Linux that stand for bf16 arithmetic; emulated, it is slower than fp32."""

SUMS: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Types by the words of ``spec.training.gradientPrecision``."""

_log = logging.getLogger(__name__)


def choose(precision: Precision, *, device: torch.device, group: Group) -> torch.dtype:
    """
    Return the type to compute in, the same in every process.

    With ``auto``: bf16 if every process's hardware has it, else fp32.

    Raises:
        UnsupportedError: fp16, whose gradients underflow without loss scaling.

    """
    if precision == "fp16":
        raise UnsupportedError(
            "spec.training.precision: fp16 is not supported; use auto or bf16, which need no loss scaling"
        )
    if precision == "fp32":
        return torch.float32
    able = torch.tensor([float(has_bf16(device))], device=device)
    group.sum(able)
    if int(able) == group.world:
        return torch.bfloat16
    if precision == "bf16":
        _log.warning("spec.training.precision: bf16 is emulated on some of this hardware; auto would train faster")
        return torch.bfloat16
    return torch.float32


def has_bf16(device: torch.device) -> bool:
    """Return whether the hardware computes in bf16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(_BF16_FLAGS & set(cpu_flags()))


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> Collection[str]:
    """Return the feature flags of the first CPU, as Linux names them; none where it does not tell."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ()
    return next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), ())


def autocast(dtype: torch.dtype, *, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which a forward pass computes in *dtype*."""
    context: AbstractContextManager[None] = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    return context
