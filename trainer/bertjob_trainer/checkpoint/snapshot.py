"""A copy of the training state that the next optimizer step cannot change."""

from collections.abc import Mapping

import numpy as np
import torch


class Buffers:
    """
    CPU memory that is filled at each checkpoint and kept for the next, since fresh pages cost more than the copy.

    Not fork: copy-on-write faults made the next optimizer pass 3 to 8 times slower than this copy costs.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def fill(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return contiguous CPU copies of *state*; they hold until the next call. On the CPU one core copies, in any thread."""
        pin = any(tensor.is_cuda for tensor in state.values())
        self._buffers = {name: self._buffer(name, tensor, pin=pin) for name, tensor in state.items()}
        with torch.no_grad():
            for name, tensor in state.items():
                _copy(tensor, self._buffers[name], non_blocking=pin)
        if pin:
            torch.cuda.synchronize()
        return dict(self._buffers)

    def _buffer(self, name: str, tensor: torch.Tensor, *, pin: bool) -> torch.Tensor:
        old = self._buffers.get(name)
        if old is not None and old.shape == tensor.shape and old.dtype == tensor.dtype:
            return old
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pin)


def _copy(source: torch.Tensor, target: torch.Tensor, *, non_blocking: bool) -> None:
    """Copy by numpy where that can: torch would start a second team of threads beside the one that trains."""
    if source.device.type == "cpu" and source.dtype == torch.float32:
        np.copyto(target.numpy(), source.detach().numpy())
    else:
        target.copy_(source, non_blocking=non_blocking)
