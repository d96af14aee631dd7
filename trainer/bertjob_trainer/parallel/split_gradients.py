"""Gradients of a process that holds some tensors of a copy, cut or whole, and sums them with the same part of other copies."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from bertjob_trainer.gradients import sum_as
from bertjob_trainer.group import Along, Group
from bertjob_trainer.parallel.axes import Spot
from bertjob_trainer.parallel.sharded import summed
from bertjob_trainer.parallel.shards import Part


class SplitGradients:
    """
    As ``gradients.Gradients``, for parts.

    Backward passes add to one flat buffer in place; of the word vectors, where they are held, only the step's rows travel.
    """

    def __init__(
        self, parts: Sequence[Part], words: Part | None, *, spot: Spot, copies: Along, world: Group, sums: torch.dtype
    ) -> None:
        """
        Give every part a zero gradient.

        Args:
            parts: all that this process holds.
            words: the word vectors among them, never cut; None: another stage has them.
            spot: this process's place.
            copies: the processes that hold the same parts.
            world: all processes.
            sums: in which gradients are summed over the copies.

        """
        dense = sorted((part for part in parts if part is not words), key=lambda part: part.is_cut)
        sizes = [part.local.numel() for part in dense]
        self._flat = torch.zeros(sum(sizes), dtype=torch.float32, device=parts[0].local.device)
        starts = [0, *accumulate(sizes)]
        for part, start, size in zip(dense, starts, sizes, strict=False):
            _give(part, self._flat[start : start + size].view_as(part.local))
        # What is whole in every process of a copy counts once for the norm.
        whole = sum(part.local.numel() for part in dense if not part.is_cut)
        counted = [self._flat[whole:]] if spot.data == 0 else []
        if spot.data == 0 and spot.tensor == 0:
            counted.append(self._flat[:whole])
        self._counted = counted
        self._words: Tensor | None = None
        self._counts_words = spot.data == 0 and spot.tensor == 0
        if words is not None:
            _give(words, torch.zeros_like(words.local))
            self._words = words.local.grad
        self._copies = copies
        self._sums = sums
        self.sent_bytes = 0
        """What this process sent to other copies for the newest sum."""
        self._world = world

    def sum(self, rows: Tensor, *, flags: Sequence[float]) -> list[float]:
        """See ``Strategy.sum``."""
        if self._copies.world > 1:
            self.sent_bytes = sum_as(self._flat, self._copies, self._sums)
            if self._words is not None:
                words = self._words.index_select(0, rows)
                self.sent_bytes += sum_as(words, self._copies, self._sums)
                self._words.index_copy_(0, rows, words)
        return summed(flags, self._world, device=self._flat.device)

    def clip(self, rows: Tensor, *, max_norm: float) -> float:
        """See ``Strategy.clip``."""
        counted = list(self._counted)
        words = None if self._words is None else self._words.index_select(0, rows)
        if words is not None and self._counts_words:
            counted.append(words)
        squares = sum(float(torch.linalg.vector_norm(part).double().square()) for part in counted if part.numel())
        (total,) = summed([squares], self._world, device=self._flat.device)
        norm = math.sqrt(total)
        if max_norm < norm < float("inf"):
            self._flat.mul_(max_norm / norm)
            if self._words is not None and words is not None:
                self._words.index_copy_(0, rows, words * (max_norm / norm))
        return norm

    def clear(self, rows: Tensor) -> None:
        """See ``Strategy.clear``."""
        self._flat.zero_()
        if self._words is not None:
            self._words.index_fill_(0, rows, 0.0)


def _give(part: Part, gradient: Tensor) -> None:
    """Make *gradient* that of the part's parameter, cut as it is, and that which the optimizer reads."""
    parameter: Any = part.parameter
    if isinstance(parameter, DTensor):
        part.local.grad = gradient
        gradient = DTensor.from_local(
            gradient,
            parameter.device_mesh,
            parameter.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
    parameter.grad = gradient
