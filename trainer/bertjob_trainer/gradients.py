"""
Gradients in flat memory, summed over processes.

All gradients but the word vectors' lie in one buffer, which is summed in buckets while the backward pass still computes
(``buckets``). Of the word vectors only rows whose token occurs in the global batch have a gradient; every process knows the whole batch (``order``), so
only those rows travel: about a thousand of 30,000, and the word vectors are half of a small BERT.

In half precision a sum moves half as many bytes; what is summed is rounded to 8 bits before and at each addition on the way, the
weights, the optimizer and the flags are not.

Shapes: V words of the vocabulary, R of them in the step, E model width.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bertjob_trainer.buckets import BUCKET_NUMBERS, Buckets
from bertjob_trainer.group import Group


class Sums(Protocol):
    """What is asked of those that sum."""

    @property
    def world(self) -> int:
        """Return how many they are."""
        ...

    def sum(self, tensor: Tensor) -> None:
        """Replace *tensor* by the sum over all."""
        ...


def sum_as(tensor: Tensor, group: Sums, dtype: torch.dtype) -> int:
    """
    Replace fp32 *tensor* by the sum over *group*, made in *dtype*, and return the bytes that each process sent for it.

    Source: a ring sends 2 (n - 1) / n of the data (Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002); the flags and words
    that small sums send otherwise are counted the same.
    """
    if dtype == tensor.dtype:
        group.sum(tensor)
    else:
        rounded = tensor.to(dtype)
        group.sum(rounded)
        tensor.copy_(rounded)
    return sent(tensor.numel() * dtype.itemsize, group)


def sent(num_bytes: int, group: Sums) -> int:
    """Return the bytes that each process sends for a sum of so many."""
    return 2 * (group.world - 1) * num_bytes // group.world


class Gradients:
    """Owns the ``grad`` of every parameter of a model; backward passes add to it in place."""

    def __init__(
        self,
        model: nn.Module,
        words: nn.Parameter | None,
        *,
        num_flags: int,
        dtype: torch.dtype = torch.float32,
        bucket_numbers: int = BUCKET_NUMBERS,
    ) -> None:
        """
        Give every parameter a zero gradient.

        Args:
            model: its parameters are of one device.
            words: (V, E) word vectors, a parameter of the model; None: every row of them may have a gradient in every step.
            num_flags: numbers that are summed along with each step's gradients.
            dtype: in which gradients are summed over processes.
            bucket_numbers: see ``Buckets``.

        """
        self._dtype = dtype
        self.sent_bytes = 0
        """What this process sent for the newest sum."""
        dense = [parameter for parameter in model.parameters() if parameter is not words]
        size = sum(parameter.numel() for parameter in dense)
        self._dense = torch.zeros(size, dtype=torch.float32, device=dense[0].device)
        self._flags = torch.zeros(num_flags, dtype=torch.float32, device=dense[0].device)
        self._buckets = Buckets(self._dense, dense, dtype=dtype, bucket_numbers=bucket_numbers)
        start = 0
        for parameter in dense:
            parameter.grad = self._dense[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        self._words: Tensor = torch.zeros(0, 0, device=dense[0].device) if words is None else torch.zeros_like(words)
        if words is not None:
            words.grad = self._words

    def departing(self, group: Group) -> AbstractContextManager[None]:
        """Return the context of a step's last backward pass, during which gradients are sent that are complete."""
        return self._buckets.departing(group)

    def clear(self, rows: Tensor) -> None:
        """Set the gradients to 0; *rows* (R,) are the words that may have any."""
        self._dense.zero_()
        self._words.index_fill_(0, rows, 0.0)

    def sum(self, group: Group, rows: Tensor, *, flags: Sequence[float]) -> list[float]:
        """Add up gradients and *flags* over all processes, and return the sums of the flags; *rows* are the words used by any."""
        self._flags.copy_(torch.tensor(flags, dtype=torch.float32))
        if group.world > 1:
            words = self._words.index_select(0, rows)
            rounded = words.to(self._dtype)
            # All on their way before the first is waited for: small sums are round trips more than bytes.
            self._buckets.depart(group)
            others = [group.start_sum(each) for each in (self._flags, rounded) if each.numel()]
            given = self._buckets.arrive() + self._flags.nbytes + rounded.nbytes
            for each in others:
                each.wait()
            self._words.index_copy_(0, rows, words.copy_(rounded))
            self.sent_bytes = sent(given, group)
        sums: list[float] = self._flags.tolist()
        return sums

    def clip(self, rows: Tensor, *, max_norm: float) -> float:
        """Scale all gradients down to *max_norm* if they are longer, and return the norm before; inf or nan: nothing was scaled."""
        words = self._words.index_select(0, rows)
        norms = torch.stack([torch.linalg.vector_norm(self._dense), torch.linalg.vector_norm(words)])
        norm = float(torch.linalg.vector_norm(norms))
        if max_norm < norm < float("inf"):
            self._dense.mul_(max_norm / norm)
            self._words.index_copy_(0, rows, words * (max_norm / norm))
        return norm


def sparse_words(model: Any) -> nn.Parameter | None:
    """Return the word vectors if only rows of a step's tokens have gradients; None where the output layer uses them too."""
    return None if model.is_tied else model.bert.embeddings.word_embeddings.weight
