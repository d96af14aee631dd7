"""
The vectors of every layer of a frozen encoder.

Shapes: B inputs, L tokens, E model width, R rows that are probed: inputs, or tokens that have a target.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertjob_tasks.task import IGNORED, Array
from bertjob_trainer.data import Batch, Dataset
from bertjob_trainer.probe.linear import Linear

_BATCH: Final = 32
_CPU: Final = torch.device("cpu")


def pooled(x: Tensor, batch: Batch) -> Tensor:
    """Return the mean (B, E) over the tokens of each input."""
    if batch.mask is None:
        return x.mean(dim=1)
    weight = batch.mask[:, :, None].to(x.dtype)
    return (x * weight).sum(dim=1) / weight.sum(dim=1)


def rows(bert: Any, data: Dataset, samples: NDArray[np.int64], *, most: int) -> tuple[list[Tensor], Tensor]:
    """
    Return (R, E) for each layer, and their targets, of the given samples; at most *most* rows.

    Args:
        bert: frozen, in evaluation mode.
        data: where the samples are.
        samples: which of them.
        most: rows beyond these are left out.

    """
    found: list[list[Tensor]] = []
    targets: list[Tensor] = []
    count = 0
    with torch.no_grad():
        for batch in _batches(data, samples):
            wanted = batch.labels != IGNORED if data.per_token else None
            for index, x in enumerate(bert.every_layer(batch.ids, batch.type_ids, batch.mask)):
                if index == len(found):
                    found.append([])
                found[index].append(x[wanted] if wanted is not None else pooled(x, batch))
            targets.append(batch.labels[wanted] if wanted is not None else batch.labels)
            count += len(targets[-1])
            if count >= most:
                break
    return [torch.cat(parts)[:most] for parts in found], torch.cat(targets)[:most]


def outputs(bert: Any, data: Dataset, probes: list[Linear]) -> list[list[Array]]:
    """Return the outputs of each layer's probe for each sample, (C,) or, of tokens, (L, C)."""
    found: list[dict[int, Array]] = [{} for _ in probes]
    order = np.argsort(-data.lengths, kind="stable")
    with torch.no_grad():
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            batch = data.batch(chosen, device=_CPU)
            for x, probe, table in zip(
                bert.every_layer(batch.ids, batch.type_ids, batch.mask), probes, found, strict=True
            ):
                answers = probe(x if data.per_token else pooled(x, batch)).numpy()
                for sample, answer in zip(chosen.tolist(), answers, strict=True):
                    table[sample] = answer[: data.lengths[sample]] if data.per_token else answer
    return [[table[sample] for sample in range(len(data))] for table in found]


def _batches(data: Dataset, samples: NDArray[np.int64]) -> Iterator[Batch]:
    for start in range(0, len(samples), _BATCH):
        yield data.batch(samples[start : start + _BATCH], device=_CPU)
