"""
One host's process. Arguments: variant, steps, and JSON with the sizes; the rest is torchrun's environment.

``bertjob`` and ``bertjob-bf16`` sum with the trainer's own ``Gradients``; ``ddp`` and ``ddp-bf16`` are torch's DistributedDataParallel, whose buckets
travel during the backward pass. Computing is a sleep. Rank 0 prints the seconds of each step.
"""

import json
import sys
import time
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from bertjob_trainer.gradients import Gradients
from bertjob_trainer.group import Together

LAYERS = 12


class Sleeping(torch.autograd.Function):
    """A layer that takes a third of its time forward and the rest backward, and has a gradient for its parameter."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, seconds: float) -> Tensor:
        """Take the time of a forward pass."""
        time.sleep(seconds / 3)
        context.seconds, context.weight = seconds, weight
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Take the time of a backward pass."""
        time.sleep(context.seconds * 2 / 3)
        return gradient, torch.ones_like(context.weight), None


class Model(nn.Module):
    """Word vectors and layers of the given sizes."""

    def __init__(self, *, dense: int, words: int, seconds: float) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.zeros(words))
        self.layers = nn.ParameterList([nn.Parameter(torch.zeros(dense // LAYERS)) for _ in range(LAYERS)])
        self._seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        """Go through all layers."""
        x = Sleeping.apply(x, self.words, 0.0)
        for layer in self.layers:
            x = Sleeping.apply(x, layer, self._seconds / LAYERS)
        return x


def torchs(sizes: dict[str, Any], *, steps: int, half: bool) -> list[float]:
    """Return the seconds of steps under DistributedDataParallel."""
    model = Model(dense=sizes["dense"], words=sizes["vocabulary"] * sizes["hidden"], seconds=sizes["seconds"])
    wrapped = DistributedDataParallel(model)
    if half:
        wrapped.register_comm_hook(None, bf16_compress_hook)
    taken = []
    for _ in range(steps):
        distributed.barrier()
        started = time.monotonic()
        wrapped(torch.zeros(1, requires_grad=True)).sum().backward()
        taken.append(time.monotonic() - started)
    return taken


def ours(sizes: dict[str, Any], *, steps: int, half: bool) -> list[float]:
    """Return the seconds of steps that end with the trainer's sum."""
    model = nn.Module()
    model.words = nn.Parameter(torch.zeros(sizes["vocabulary"], sizes["hidden"]))
    model.dense = nn.Parameter(torch.zeros(sizes["dense"]))
    gradients = Gradients(model, model.words, num_flags=16, dtype=torch.bfloat16 if half else torch.float32)
    group = Together(distributed.get_rank(), distributed.get_world_size(), lambda: False)
    rows, taken = torch.arange(sizes["rows"]), []
    for _ in range(steps):
        distributed.barrier()
        started = time.monotonic()
        time.sleep(sizes["seconds"])
        gradients.sum(group, rows, flags=[0.0] * 16)
        taken.append(time.monotonic() - started)
    return taken


def main() -> None:
    """Measure one variant."""
    variant, steps, sizes = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    distributed.init_process_group("gloo")
    measure = ours if variant.startswith("bertjob") else torchs
    taken = measure(sizes, steps=steps, half=variant.endswith("bf16"))
    if distributed.get_rank() == 0:
        sys.stdout.write(json.dumps(taken) + "\n")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
