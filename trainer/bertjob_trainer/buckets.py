"""
Parts of a flat gradient that travel while the backward pass still computes the others.

A backward pass fills the gradient from its end to its start. It is cut into buckets; each is summed over processes as soon as all
parameters in it have their gradient. Every process sends the same buckets in the same order, whenever it has them, so the sums are
the same as without the hurry, to the last bit.

Source: as torch's DistributedDataParallel (Li et al. 2020, arXiv:2006.15704), which knows neither our accumulation nor our rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from bertjob_trainer.group import Group, Underway

BUCKET_NUMBERS: Final = 1024 * 1024
"""Numbers of a bucket. The last one is never hidden: on 4 nodes at 10 GbE it takes 6 ms; much smaller ones pay a round trip each."""


@dataclass(slots=True)
class Bucket:
    """A stretch of the flat gradient."""

    numbers: Tensor
    parameters: int
    """How many lie in it."""
    missing: int
    """How many of them have no gradient of this step yet."""


@dataclass(frozen=True, slots=True)
class Departed:
    """A bucket on its way."""

    numbers: Tensor
    sent: Tensor
    """``numbers``, or a copy of fewer bits."""
    underway: Underway

    def arrive(self) -> None:
        """Put the sum into its place, once it is made. Raises PeerLostError."""
        self.underway.wait()
        if self.sent is not self.numbers:
            self.numbers.copy_(self.sent)


class Buckets:
    """Sums a flat gradient over processes, a bucket at a time."""

    def __init__(
        self,
        flat: Tensor,
        parameters: Sequence[nn.Parameter],
        *,
        dtype: torch.dtype = torch.float32,
        bucket_numbers: int = BUCKET_NUMBERS,
    ) -> None:
        """
        Cut.

        Args:
            flat: the gradients of *parameters*, one after the other.
            parameters: in the order in which a forward pass uses them, about.
            dtype: in which sums are made.
            bucket_numbers: the fewest numbers of a bucket, but for the one at the start.

        """
        self._dtype = dtype
        self._parameters = tuple(parameters)
        self._buckets: list[Bucket] = []
        self._bucket_of: list[int] = [0] * len(self._parameters)
        self._departed: list[Departed] = []
        self._arrived = 0
        """How many of those, the first ones, have their sums already."""
        stop = start = flat.numel()
        members: list[int] = []
        for index in reversed(range(len(self._parameters))):
            start -= self._parameters[index].numel()
            members.append(index)
            if stop - start >= bucket_numbers or index == 0:
                for member in members:
                    self._bucket_of[member] = len(self._buckets)
                self._buckets.append(Bucket(flat[start:stop], len(members), len(members)))
                stop, members = start, []
        assert start == 0, "the flat gradient is that of the parameters; this is a bug"

    @contextmanager
    def departing(self, group: Group) -> Iterator[None]:
        """Send each bucket as soon as the one backward pass within has filled it. Raises PeerLostError out of that pass."""
        if group.world == 1:
            yield
            return
        hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._filled, group, bucket))
            for parameter, bucket in zip(self._parameters, self._bucket_of, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:  # this pass alone is the step's last
                hook.remove()

    def depart(self, group: Group) -> None:
        """Send what no backward pass has filled: what is left of the step."""
        for _ in range(len(self._departed), len(self._buckets)):
            self._depart(group)

    def arrive(self) -> int:
        """Wait until all sums are there, and return the bytes that this process gave. Raises PeerLostError."""
        for each in self._departed[self._arrived :]:
            each.arrive()
        num_bytes: int = sum(each.sent.nbytes for each in self._departed)
        self._departed, self._arrived = [], 0
        for bucket in self._buckets:
            bucket.missing = bucket.parameters
        return num_bytes

    def _filled(self, group: Group, number: int, _: Tensor) -> None:
        self._buckets[number].missing -= 1
        while len(self._departed) < len(self._buckets) and not self._buckets[len(self._departed)].missing:
            self._depart(group)

    def _depart(self, group: Group) -> None:
        # What has come back is unpacked now, beside the computing, and not at the end.
        while self._arrived < len(self._departed) and self._departed[self._arrived].underway.is_made():
            self._departed[self._arrived].arrive()
            self._arrived += 1
        numbers = self._buckets[len(self._departed)].numbers
        sent = numbers.to(self._dtype)  # itself where that is its type
        self._departed.append(Departed(numbers, sent, group.start_sum(sent)))
