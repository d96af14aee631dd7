"""
A short fine-tune that makes a changed model answer as the FP32 model does: no labels are needed, and it fits every task.

The loss is the relative squared error of the outputs plus that of the states after each layer.
Source: Hinton et al. 2015 (arXiv:1503.02531); Jiao et al. 2020, TinyBERT (arXiv:1909.10351), states of layers; Kim et al. 2021
(arXiv:2105.08919), squared error of logits.

The result depends on nothing but model, texts and settings: each batch is split into the same parts whatever the number of
threads, each part is computed by one thread, and gradients are summed in order.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from bertjob_serving.optimize.tuning import student
from bertjob_serving.optimize.weights import Array
from bertjob_trainer import optim
from bertjob_trainer.data import Dataset

_BATCH: Final = 32
_PARTS: Final = 4
_WARMUP: Final = 0.1
_TINY: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long and how fast is learnt."""

    epochs: int
    learning_rate: float
    seed: int = 20190524


class _Watched:
    """A model whose states after each layer are seen, in whichever thread it runs."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._seen = threading.local()
        for layer in student.layers_of(model):
            layer.register_forward_hook(self._see)

    def _see(self, _module: Any, _inputs: Any, output: Tensor) -> None:
        self._seen.states.append(output)

    def run(self, data: Dataset, samples: Array) -> tuple[list[Tensor], Tensor]:
        """Return the states after each layer followed by the outputs, and the mask of tokens (B, S, 1)."""
        self._seen.states = []
        outputs, _ = student.run(self.model, data, samples)
        lengths = torch.from_numpy(data.lengths[samples])
        mask = (torch.arange(int(lengths.max()))[None, :] < lengths[:, None])[..., None].float()
        return [*self._seen.states, outputs], mask


def follow(
    model: Any, teacher: Any, data: Dataset, course: Course, *, threads: int, told: Callable[[int, int], None]
) -> list[float]:
    """
    Teach *model*, in place, to answer the texts of *data* as *teacher* does, and return the loss of each step.

    Args:
        model: what learns; its embeddings stay as they are.
        teacher: what it follows, of the same layers.
        data: texts.
        course: how long and how fast.
        threads: parts that are computed at once.
        told: is told the steps done and all steps.

    """
    torch.set_num_threads(1)
    pair = (_Watched(model), _Watched(teacher))
    learnt = [(name, value) for name, value in model.named_parameters() if ".embeddings." not in name]
    values = [value for _, value in learnt]
    optimizer = optim.adamw(learnt, weight_decay=0.0)
    steps = [parts for epoch in range(course.epochs) for parts in _epoch(data, course, epoch)]
    schedule = optim.Schedule(peak=course.learning_rate, total_steps=len(steps), warmup_ratio=_WARMUP)
    losses = []
    with ThreadPoolExecutor(threads) as pool:
        for step, parts in enumerate(steps):
            found = list(pool.map(partial(_gradients, pair, values, data), parts))
            losses.append(_take(optimizer, values, found, lr=optim.lr_at(step, schedule=schedule)))
            told(step + 1, len(steps))
    return losses


def _epoch(data: Dataset, course: Course, epoch: int) -> list[list[Array]]:
    return list(student.batches(data, seed=course.seed + epoch, size=_BATCH, parts=_PARTS))


_Part = tuple[float, int, Sequence[Tensor | None]]
"""Loss summed over texts, their number, and the gradients of the sum."""


def _gradients(pair: tuple[_Watched, _Watched], values: Sequence[nn.Parameter], data: Dataset, samples: Array) -> _Part:
    own, teacher = pair
    with torch.no_grad():
        expected, mask = teacher.run(data, samples)
    got, _ = own.run(data, samples)
    loss = _loss(got, expected, mask) * len(samples)
    return float(loss.detach()), len(samples), torch.autograd.grad(loss, list(values), allow_unused=True)


def _loss(got: Sequence[Tensor], expected: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Return the relative squared error of the outputs, plus the mean of those of the layers."""
    errors = [_error(mine, theirs, mask) for mine, theirs in zip(got, expected, strict=True)]
    return errors[-1] + torch.stack(errors[:-1]).mean()


def _error(mine: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
    """Return the squared error over the square of what is expected; padding, which is in (B, S, E) alone, is left out."""
    counted = mask if theirs.dim() == 3 and theirs.shape[1] == mask.shape[1] else torch.ones(())
    return ((mine - theirs).square() * counted).sum() / ((theirs.square() * counted).sum() + _TINY)


def _take(optimizer: Any, values: Sequence[nn.Parameter], found: Sequence[_Part], *, lr: float) -> float:
    """Take one step along the mean gradient and return the mean loss."""
    count = sum(number for _, number, _ in found)
    for index, value in enumerate(values):
        parts = [gradients[index] for _, _, gradients in found]
        summed = [part for part in parts if part is not None]
        value.grad = torch.stack(summed).sum(dim=0) / count if summed else None
    nn.utils.clip_grad_norm_(values, optim.MAX_NORM)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return sum(loss for loss, _, _ in found) / count
