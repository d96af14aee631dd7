"""
How well held-out texts are filled in, and the order of texts told, each process computing its share.

Logits are as many as the vocabulary for each token, so they are never kept: sums are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from bertjob_tasks.task import IGNORED, Array
from bertjob_trainer import precision
from bertjob_trainer.data import Dataset
from bertjob_trainer.machine import Machine
from bertjob_trainer.order import dealt

_BATCH: Final = 16
_LONGEST_LOSS: Final = 700.0
"""``exp`` of more is no number any more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filled:
    """What a model answers to T tokens of N held-out inputs."""

    scores: Mapping[str, float]
    """``maskedAccuracy``, ``maskedLoss`` and ``perplexity``, and for pairs ``nextSentenceAccuracy`` and its loss."""
    words: Array
    """(T,) pieces of the vocabulary; 0 where nothing is hidden."""
    orders: Array
    """(N,) classes of pairs; 0 where the inputs are none."""

    @property
    def outputs(self) -> list[Array]:
        """Return words and orders."""
        return [self.words, self.orders]


def filled(model: Any, data: Dataset, order: Any, machine: Machine) -> Filled:
    """
    Return the answers and their worth.

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
    told = torch.zeros(len(data.ids) + len(data), dtype=torch.int64, device=device)
    told_words, told_orders = told[: len(data.ids)], told[len(data.ids) :]
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
            told_words[_places(data, batches[index], batch.ids.shape[1])[chosen]] = words.argmax(dim=-1)
            if pairs is not None:
                sums[3:] += _judged(pairs, torch.from_numpy(order[batches[index]]).to(device))
                told_orders[torch.from_numpy(batches[index]).to(device)] = pairs.argmax(dim=-1)
    group.sum(sums)
    group.sum(told)
    scores = _named(*sums.tolist(), with_order=order is not None)
    return Filled(scores=scores, words=told_words.cpu().numpy(), orders=told_orders.cpu().numpy())


def _places(data: Dataset, samples: Any, length: int) -> Any:
    """Return which of all tokens each of a padded batch's is, (B * L,); those of padding mean nothing."""
    return torch.from_numpy((data.offsets[samples][:, None] + np.arange(length)).ravel())


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
