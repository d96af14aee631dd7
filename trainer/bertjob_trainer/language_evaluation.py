"""
How well held-out texts are filled in, and the order of texts told, each process computing its share.

Logits are as many as the vocabulary for each token, so they are never kept: sums are.
"""

import math
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from bertjob_tasks.task import IGNORED
from bertjob_trainer import precision
from bertjob_trainer.data import Dataset
from bertjob_trainer.machine import Machine
from bertjob_trainer.order import dealt

_BATCH: Final = 16
_LONGEST_LOSS: Final = 700.0
"""``exp`` of more is no number any more."""


def evaluate(model: Any, data: Dataset, order: Any, machine: Machine) -> dict[str, float]:
    """
    Return ``maskedAccuracy``, ``maskedLoss`` and ``perplexity``, and for pairs ``nextSentenceAccuracy`` and its loss.

    Args:
        model: ``masked_heads.MaskedModel``, or the one with pairs.
        data: targets of each token, IGNORED where nothing is hidden.
        order: (N,) 0 where the second text comes after the first one, else 1; None: these are no pairs.
        machine: every process of its group calls this and gets the same.

    """
    device, group = machine.device, machine.group
    longest_first = np.argsort(-data.lengths, kind="stable")
    batches = [longest_first[start : start + _BATCH] for start in range(0, len(data), _BATCH)]
    sums = torch.zeros(6, dtype=torch.float64, device=device)
    model.eval()
    with torch.no_grad():
        for index in dealt(len(batches), rank=group.rank, world=group.world):
            batch = data.batch(batches[index], device=device)
            targets = batch.labels
            assert isinstance(targets, torch.Tensor), "every token has one target; this is a bug"
            targets = targets.flatten()
            chosen = torch.nonzero(targets != IGNORED).flatten()
            with precision.autocast(machine.dtype, device=device):
                outputs = model(batch.ids, batch.type_ids, batch.mask, chosen)
            words, pairs = outputs if order is not None else (outputs, None)
            sums[:3] += _judged(words, targets[chosen])
            if pairs is not None:
                sums[3:] += _judged(pairs, torch.from_numpy(order[batches[index]]).to(device))
    group.sum(sums)
    return _named(*sums.tolist(), with_order=order is not None)


def _judged(logits: Any, targets: Any) -> Any:
    """Return how many targets (M,) the logits (M, C) hit, the sum of their losses, and M."""
    hits = (logits.argmax(dim=-1) == targets).sum()
    loss = functional.cross_entropy(logits.float(), targets, reduction="sum")
    return torch.stack([hits.double(), loss.double(), torch.full_like(loss, len(targets)).double()])


def _named(*sums: float, with_order: bool) -> dict[str, float]:
    hits, loss, count, pair_hits, pair_loss, pairs = sums
    mean = loss / max(1.0, count)
    found = {
        "maskedAccuracy": hits / max(1.0, count),
        "maskedLoss": mean,
        "perplexity": math.exp(min(mean, _LONGEST_LOSS)),
    }
    if with_order:
        found |= {
            "nextSentenceAccuracy": pair_hits / max(1.0, pairs),
            "nextSentenceLoss": pair_loss / max(1.0, pairs),
        }
    return found
