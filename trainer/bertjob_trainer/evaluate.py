"""Metrics of a model on held-out examples, each process computing its share."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bertjob_tasks import metrics
from bertjob_trainer import precision
from bertjob_trainer.data import Dataset
from bertjob_trainer.machine import Machine
from bertjob_trainer.order import dealt

_BATCH: Final = 32


def evaluate(model: nn.Module, data: Dataset, machine: Machine) -> Mapping[str, float]:
    """Return ``accuracy`` and ``macroF1`` of *model* on *data*, the same in every process and for any number of them."""
    predicted = predict(model, data, machine)
    return {
        "accuracy": metrics.accuracy(predicted, data.labels),
        "macroF1": metrics.macro_f1(predicted, data.labels),
    }


def predict(model: nn.Module, data: Dataset, machine: Machine) -> NDArray[np.int64]:
    """Return the class number of each sample, (N,), in every process."""
    device, group = machine.device, machine.group
    longest_first = np.argsort(-data.lengths, kind="stable")
    batches = [longest_first[start : start + _BATCH] for start in range(0, len(data), _BATCH)]
    found = torch.zeros(len(data), dtype=torch.int64, device=device)
    model.eval()
    with torch.no_grad(), precision.autocast(machine.dtype, device=device):
        for index in dealt(len(batches), rank=group.rank, world=group.world):
            batch = data.batch(batches[index], device=device)
            logits = model(batch.ids, batch.type_ids, batch.mask)
            found[torch.from_numpy(batches[index]).to(device)] = logits.float().argmax(dim=-1)
    group.sum(found)  # every sample is predicted by one process and 0 in the others
    classes: Any = found.cpu().numpy()
    return np.asarray(classes, dtype=np.int64)
