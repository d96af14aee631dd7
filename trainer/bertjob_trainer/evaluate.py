"""Metrics of a model on held-out examples, each process computing its share. Shapes as in ``bertjob_tasks.task``."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from bertjob_tasks.task import Array, Features, Task, answers_of
from bertjob_trainer import language_evaluation, precision
from bertjob_trainer.data import Dataset
from bertjob_trainer.machine import Machine
from bertjob_trainer.order import dealt

_BATCH: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Examples that nothing is learnt from."""

    data: Dataset
    features: Features
    """The same, with what they are judged by."""


def evaluate(model: nn.Module, held_out: HeldOut, task: Task[Any], machine: Machine) -> Mapping[str, float]:
    """Return the task's metrics of *model*, the same in every process and for any number of them."""
    if task.hides:
        return language_evaluation.filled(model, held_out.data, held_out.features.gold.order, machine).scores
    return scores_of(held_out, outputs_of(model, held_out, task, machine), task)


def outputs_of(model: nn.Module, held_out: HeldOut, task: Task[Any], machine: Machine) -> list[Array]:
    """Return the outputs for each held-out input, the same in every process."""
    return predict(model, held_out.data, machine, per_token=task.answers_tokens)


def scores_of(held_out: HeldOut, outputs: Sequence[Array], task: Task[Any]) -> Mapping[str, float]:
    """Return the task's metrics of such outputs."""
    return task.scores(held_out.features, answers_of(task, held_out.features, outputs))


def predict(model: Any, data: Dataset, machine: Machine, *, per_token: bool) -> list[Array]:
    """Return the outputs for each sample, (C,) or, *per_token*, (L, C), in every process."""
    device, group = machine.device, machine.group
    longest_first = np.argsort(-data.lengths, kind="stable")
    batches = [longest_first[start : start + _BATCH] for start in range(0, len(data), _BATCH)]
    # Every row is computed by one process and 0 in the others.
    rows = data.offsets if per_token else np.arange(len(data) + 1)
    found = torch.zeros(int(rows[-1]), model.width, device=device)
    model.eval()
    with torch.no_grad(), precision.autocast(machine.dtype, device=device):
        for index in dealt(len(batches), rank=group.rank, world=group.world):
            batch = data.batch(batches[index], device=device)
            outputs = model(batch.ids, batch.type_ids, batch.mask).float()
            for sample, output in zip(batches[index], outputs, strict=True):
                _put(found[rows[sample] : rows[sample + 1]], output)
    group.sum(found)
    table: Array = found.cpu().numpy()
    return [table[start:stop] if per_token else table[start] for start, stop in itertools.pairwise(rows)]


def _put(place: Tensor, output: Tensor) -> None:
    """Copy (C,) or padded (L, C) outputs of one sample to its rows."""
    place.copy_(output[: len(place)] if output.dim() == 2 else output)
