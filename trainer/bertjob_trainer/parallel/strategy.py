"""What the training loop asks of a strategy, and what it gives to one."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertjob_trainer import precision
from bertjob_trainer.data import Batch
from bertjob_trainer.hiding import StepData
from bertjob_trainer.parallel.axes import Axes, Spot

Loss = Callable[..., Tensor | tuple[Tensor, ...]]
"""Outputs and targets to the loss, summed over the targets; several sums where the loss is a sum of means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The forward and backward passes of one step; the same in every process."""

    data: StepData
    step: int

    @property
    def micro_batches(self) -> Sequence[NDArray[np.int64]]:
        """Return the samples of each, the longest first."""
        return self.data.micro_batches

    @property
    def num_targets(self) -> tuple[int, ...]:
        """Return what each part of the loss is divided by: its targets in the whole step."""
        return self.data.num_targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """How a batch becomes a loss."""

    loss: Loss
    dtype: torch.dtype
    device: torch.device
    seed: int
    sums: torch.dtype = torch.float32
    """In which gradients are summed over processes."""


class Strategy(Protocol):
    """Forward, backward and sums of one step. Every process calls the same methods in the same order."""

    def share(self, count: int) -> tuple[int, ...]:
        """Return which of *count* micro-batches this process answers for in the ledger: each of a step is one process's."""
        ...

    @property
    def sent_bytes(self) -> int | None:
        """Return the bytes of gradients that this process sent in the newest step; None: torch alone knows."""
        ...

    def accumulate(self, work: Work) -> float:
        """Add the gradients of this process's share of a step, and return its share of the step's mean loss."""
        ...

    def sum(self, rows: Tensor, *, flags: Sequence[float]) -> list[float]:
        """
        Make the gradients those of the whole step, and return *flags* summed over all processes.

        Args:
            rows: (R,) the words of the step.
            flags: this process's numbers.

        """
        ...

    def clip(self, rows: Tensor, *, max_norm: float) -> float:
        """Scale all gradients down to *max_norm* if they are longer, and return the norm before; inf or nan: nothing was scaled."""
        ...

    def clear(self, rows: Tensor) -> None:
        """Set the gradients to 0; *rows* (R,) are the words that may have any."""
        ...


class Passes:
    """What the passes of a process's micro-batches need, however the model is cut."""

    def __init__(self, model: Any, axes: Axes, spot: Spot, arithmetic: Arithmetic) -> None:
        """Prepare passes of a *model* that is cut for its *spot* of the grid."""
        self._model = model
        self._axes = axes
        self._spot = spot
        self._arithmetic = arithmetic


def backward(model: Any, work: Work, index: int, arithmetic: Arithmetic, *, weight: float = 1.0) -> float:
    """
    Add the gradients of one micro-batch and return its share of the step's mean loss.

    Args:
        model: gives outputs of ids, segments and mask.
        work: the step.
        index: number of the micro-batch.
        arithmetic: how.
        weight: 0 keeps the passes, with all communication in them, and adds nothing.

    """
    torch.manual_seed(dropout_seed(arithmetic.seed, work.step, index))
    batch = work.data.batch(index, device=arithmetic.device)
    share = mean_share(_loss(model, batch, arithmetic), work.num_targets)
    if weight != 1.0:
        share = share * weight
    share.backward()
    return float(share.detach())


def mean_share(sums: Tensor | tuple[Tensor, ...], num_targets: tuple[int, ...]) -> Tensor:
    """Return the share of a step's mean loss in *sums* over some of its targets."""
    parts = sums if isinstance(sums, tuple) else (sums,)
    return torch.stack([part / count for part, count in zip(parts, num_targets, strict=True)]).sum()


def _loss(model: Any, batch: Batch, arithmetic: Arithmetic) -> Tensor | tuple[Tensor, ...]:
    chosen = () if batch.chosen is None else (batch.chosen,)
    with precision.autocast(arithmetic.dtype, device=batch.ids.device):
        outputs = model(batch.ids, batch.type_ids, batch.mask, *chosen)
    return arithmetic.loss(outputs, batch.labels)


def dropout_seed(seed: int, step: int, micro_batch: int) -> int:
    """Return the seed of one micro-batch's dropout, the same whichever process computes it."""
    digest = hashlib.blake2b(f"{seed}/{step}/{micro_batch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
