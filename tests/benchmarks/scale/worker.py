"""
One host's process. Arguments: variant, steps, and JSON with the sizes; the rest is torchrun's environment.

``bertjob`` and ``bertjob-bf16`` sum with the trainer's own ``Gradients``; ``ddp`` and ``ddp-bf16`` are torch's DistributedDataParallel. Both send
buckets during the backward pass. Computing is a sleep. Rank 0 prints the seconds of each step.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from bertjob_trainer.buckets import BUCKET_NUMBERS
from bertjob_trainer.gradients import Gradients
from bertjob_trainer.group import Together

MATRICES = 72
"""Parameters beside the word vectors: six matrices in each of twelve layers."""
DDP_BUCKET_MIB = 25
"""Torch's default."""


class Device:
    """Computes as an accelerator does: beside the processor, which only waits for it, so what the processor does in between is free."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def begin(self) -> None:
        """Start a step."""
        self._free_at = time.monotonic()

    def compute(self, seconds: float) -> None:
        """Wait until the device has computed for so long."""
        self._free_at += seconds
        time.sleep(max(0.0, self._free_at - time.monotonic()))


DEVICE = Device()


class Sleeping(torch.autograd.Function):
    """A layer that takes a third of its time forward and the rest backward, and has a gradient for its parameter."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, seconds: float) -> Tensor:
        """Take the time of a forward pass."""
        DEVICE.compute(seconds / 3)
        context.seconds, context.weight = seconds, weight
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Take the time of a backward pass."""
        DEVICE.compute(context.seconds * 2 / 3)
        return gradient, torch.ones_like(context.weight), None


class Model(nn.Module):
    """Word vectors and layers of the given sizes."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.zeros(sizes["vocabulary"], sizes["hidden"]))
        size = sizes["dense"] // MATRICES
        self.layers = nn.ParameterList([nn.Parameter(torch.zeros(size)) for _ in range(MATRICES)])
        self._seconds = sizes["seconds"]

    def forward(self, x: Tensor) -> Tensor:
        """Go through all layers."""
        x = Sleeping.apply(x, self.words, 0.0)
        for layer in self.layers:
            x = Sleeping.apply(x, layer, self._seconds / MATRICES)
        return x


def passes(model: nn.Module) -> None:
    """Take the time of a forward and a backward pass, and leave gradients."""
    model(torch.zeros(1, requires_grad=True)).sum().backward()


def torchs(sizes: dict[str, Any], *, steps: int, half: bool) -> list[float]:
    """Return the seconds of steps under DistributedDataParallel."""
    wrapped = DistributedDataParallel(Model(sizes), bucket_cap_mb=DDP_BUCKET_MIB / sizes["shrunk"])
    if half:
        wrapped.register_comm_hook(None, bf16_compress_hook)
    return timed(lambda: passes(wrapped), steps=steps)


def ours(sizes: dict[str, Any], *, steps: int, half: bool) -> list[float]:
    """Return the seconds of steps that end with the trainer's sum."""
    model = Model(sizes)
    dtype, numbers = torch.bfloat16 if half else torch.float32, BUCKET_NUMBERS // sizes["shrunk"]
    gradients = Gradients(model, model.words, num_flags=16, dtype=dtype, bucket_numbers=numbers)
    group = Together(distributed.get_rank(), distributed.get_world_size(), lambda: False)
    rows = torch.arange(sizes["rows"])

    def step() -> None:
        with gradients.departing(group):
            passes(model)
        gradients.sum(group, rows, flags=[0.0] * 16)

    return timed(step, steps=steps)


def timed(step: Callable[[], None], *, steps: int) -> list[float]:
    """Return the seconds of so many steps."""
    taken = []
    for _ in range(steps):
        distributed.barrier()
        started = time.monotonic()
        DEVICE.begin()
        step()
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
