"""
Fully sharded data parallelism: weights, gradients and optimizer are spread, and a layer's weights come together while it computes.

Source: Rajbhandari et al. 2019 (arXiv:1910.02054), by torch's ``fully_shard``; with ``data`` copies beside each other, gradients
are scattered within a copy and summed over the copies (hybrid sharding).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from bertjob_trainer.group import Group
from bertjob_trainer.order import dealt
from bertjob_trainer.parallel.axes import Spot
from bertjob_trainer.parallel.shards import Part
from bertjob_trainer.parallel.strategy import Passes, Work, backward


def cut(model: Any, mesh: Any, *, sums: torch.dtype) -> None:
    """Cut *model* in place: each layer for itself, then the rest; *mesh* has the dimensions data and fsdp, *sums* is of gradients."""
    policy = MixedPrecisionPolicy(reduce_dtype=sums)
    for module in (*model.bert.encoder.layer, model):
        fully_shard(module, mesh=mesh, mp_policy=policy)
        # Sums, not means: the loss is divided by the targets of the whole step already.
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(enable=True)


class ShardedPasses(Passes):
    """Forward and backward of a process's micro-batches."""

    def __call__(self, work: Work) -> float:
        """
        Add the gradients of this process's micro-batches and return their share of the loss.

        All processes make the same number of passes, since each pass needs everybody's weights: who has fewer micro-batches adds
        passes of weight 0.
        """
        count, streams = len(work.micro_batches), self._axes.streams
        mine = dealt(count, rank=self._spot.stream, world=streams)
        passes = -(-count // streams)
        loss = 0.0
        for number in range(passes):
            # The copies sum once: at the last pass.
            self._model.set_requires_all_reduce(number == passes - 1)
            index, weight = (mine[number], 1.0) if number < len(mine) else (count - 1, 0.0)
            loss += backward(self._model, work, index, self._arithmetic, weight=weight)
        return loss


class Gradients:
    """Gradients that ``fully_shard`` has summed and scattered already."""

    sent_bytes = None

    def __init__(self, parts: Mapping[str, Part], spot: Spot, world: Group) -> None:
        self._parts = tuple(parts.values())
        self._is_counted = spot.data == 0  # the other copies have the same ones
        self._world = world

    def sum(self, rows: Tensor, *, flags: Sequence[float]) -> list[float]:  # noqa: ARG002
        """See ``Strategy.sum``."""
        for part in self._parts:
            gradient: Any = part.parameter.grad
            part.local.grad = torch.zeros_like(part.local) if gradient is None else gradient.to_local()
        return summed(flags, self._world, device=self._parts[0].local.device)

    def clip(self, rows: Tensor, *, max_norm: float) -> float:  # noqa: ARG002
        """See ``Strategy.clip``."""
        gradients = [part.local.grad for part in self._parts]
        norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]).double()
        squares = float(norms.square().sum()) if self._is_counted else 0.0
        (total,) = summed([squares], self._world, device=norms.device)
        norm = math.sqrt(total)
        if max_norm < norm < float("inf"):
            for gradient in gradients:
                gradient.mul_(max_norm / norm)
        return norm

    def clear(self, rows: Tensor) -> None:  # noqa: ARG002
        """See ``Strategy.clear``."""
        for part in self._parts:
            part.parameter.grad = part.local.grad = None


def summed(numbers: Sequence[float], group: Group, *, device: torch.device) -> list[float]:
    """Return *numbers* summed over all processes, in double precision."""
    tensor = torch.tensor(numbers, dtype=torch.float64, device=device)
    group.sum(tensor)
    sums: list[float] = tensor.tolist()
    return sums
