"""Tokenized examples in flat memory, and batches of them. Shapes: N samples, B of a batch, L tokens of the longest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertjob_tasks.encoding import Encoded
from bertjob_tasks.masking import Masked
from bertjob_tasks.task import IGNORED


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded inputs and their targets, on the training device."""

    ids: Tensor
    """(B, L) int32."""
    type_ids: Tensor
    """(B, L) int32."""
    mask: Tensor | None
    """(B, L), True at tokens; None: nothing is padding."""
    labels: Tensor | tuple[Tensor, ...]
    """Targets: (B,) or (B, C), or (B, L) with ``IGNORED`` at padding; with *chosen*: (M,), or these and (B,)."""
    chosen: Tensor | None = None
    """(M,) places of the tokens that are to be filled in, among all B L of them; None: there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Every sample's tokens one after another: five bytes each, and no object per sample."""

    ids: NDArray[np.int32]
    """(sum of lengths,)."""
    type_ids: NDArray[np.int8]
    offsets: NDArray[np.int64]
    """(N + 1,): sample i is ``ids[offsets[i]:offsets[i + 1]]``."""
    labels: NDArray[Any]
    """Targets of each sample, (N,) or (N, C), or of each token, as ``ids`` are."""
    pad_id: int
    per_token: bool = False

    @classmethod
    def of(cls, inputs: Sequence[Encoded], labels: NDArray[Any], *, pad_id: int, per_token: bool = False) -> Self:
        """Return the data set of encoded inputs and their targets, one for each input or for each token of all inputs."""
        lengths = [len(item.ids) for item in inputs]
        assert len(labels) == (sum(lengths) if per_token else len(inputs))
        return cls(
            ids=np.concatenate([item.ids for item in inputs]),
            type_ids=np.concatenate([item.type_ids for item in inputs]).astype(np.int8),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            labels=labels,
            pad_id=pad_id,
            per_token=per_token,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the tokens of each sample, (N,)."""
        return np.diff(self.offsets)

    def batch(self, samples: NDArray[np.int64], *, device: torch.device) -> Batch:
        """Return the given samples as one batch."""
        longest = int(self.lengths_of(samples).max())
        targets = torch.from_numpy(self._targets(samples, longest)).to(device, non_blocking=True)
        return self._batch(samples, self.tokens_of(samples), labels=targets, device=device)

    def hidden_batch(
        self, samples: NDArray[np.int64], hidden: Masked, *, device: torch.device, with_labels: bool
    ) -> Batch:
        """Return the given samples with tokens *hidden*, to be filled in; *with_labels*: each has its own target as well."""
        lengths = self.lengths_of(samples)
        shifts = np.arange(len(samples)) * lengths.max() - (
            np.cumsum(lengths) - lengths
        )  # from tokens to padded places
        places = hidden.chosen + np.repeat(shifts, lengths)[hidden.chosen]
        targets = torch.from_numpy(hidden.targets).to(device, non_blocking=True)
        own = torch.from_numpy(np.asarray(self.labels[samples])).to(device, non_blocking=True) if with_labels else None
        return self._batch(
            samples,
            hidden.ids,
            labels=targets if own is None else (targets, own),
            device=device,
            chosen=torch.from_numpy(places).to(device, non_blocking=True),
        )

    def _batch(
        self,
        samples: NDArray[np.int64],
        tokens: NDArray[np.int32],
        *,
        labels: Tensor | tuple[Tensor, ...],
        device: torch.device,
        chosen: Tensor | None = None,
    ) -> Batch:
        """Return the given samples, whose *tokens* are these, padded."""
        lengths = self.lengths_of(samples)
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.pad_id, dtype=np.int32)
        type_ids = np.zeros(mask.shape, dtype=np.int32)
        ids[mask] = tokens
        type_ids[mask] = _joined(self.type_ids, self.offsets, samples)
        return Batch(
            ids=torch.from_numpy(ids).to(device, non_blocking=True),
            type_ids=torch.from_numpy(type_ids).to(device, non_blocking=True),
            mask=None if mask.all() else torch.from_numpy(mask).to(device, non_blocking=True),
            labels=labels,
            chosen=chosen,
        )

    def tokens_of(self, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the tokens of the given samples one after another."""
        return _joined(self.ids, self.offsets, samples)

    def lengths_of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens of each of the given samples."""
        found: NDArray[np.int64] = self.offsets[samples + 1] - self.offsets[samples]
        return found

    def _targets(self, samples: NDArray[np.int64], longest: int) -> NDArray[Any]:
        if not self.per_token:
            return np.asarray(self.labels[samples])
        targets = np.full((len(samples), longest), IGNORED, dtype=np.int64)
        for row, sample in enumerate(samples):
            start, stop = self.offsets[sample], self.offsets[sample + 1]
            targets[row, : stop - start] = self.labels[start:stop]
        return targets

    def num_targets(self, samples: NDArray[np.int64]) -> int:
        """Return how many targets the given samples have that count for the loss; its mean is over them. At least 1."""
        if not self.per_token:
            return len(samples)
        parts = [self.labels[self.offsets[sample] : self.offsets[sample + 1]] for sample in samples]
        return max(1, int((np.concatenate(parts) != IGNORED).sum()))

    def num_tokens(self, samples: NDArray[np.int64]) -> int:
        """Return how many tokens the given samples have; padding is none."""
        return int((self.offsets[samples + 1] - self.offsets[samples]).sum())

    def words_of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the distinct token ids of the given samples, ascending; padding is none of them."""
        return np.unique(self.tokens_of(samples)).astype(np.int64)


def _joined(values: NDArray[Any], offsets: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[Any]:
    """Return the part of *values* of each of the samples, one after another."""
    return np.concatenate([values[offsets[sample] : offsets[sample + 1]] for sample in samples])
