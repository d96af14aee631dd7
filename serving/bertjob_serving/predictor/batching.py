"""Which waiting texts go to the engine together: a pure decision over their lengths."""

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

MAX_PADDING: Final = 0.25
"""Largest share of padding in a batch: padding costs as much as tokens, and a batch saves less than a quarter."""


class Entry(Protocol):
    """A waiting text."""

    @property
    def length(self) -> int:
        """Return its tokens."""
        ...


E = TypeVar("E", bound=Entry)


def form_batch(entries: Sequence[E], *, max_tokens: int, max_items: int) -> tuple[list[E], list[E]]:
    """
    Return the texts to compute now and the rest, both in order of arrival.

    The oldest is always taken, so that none waits for ever. Others join it by closeness in length while the padded batch
    stays within *max_tokens*, *max_items* and ``MAX_PADDING``.

    Args:
        entries: waiting texts, oldest first.
        max_tokens: texts times the longest of them; a single longer text goes alone.
        max_items: texts, at least 1.

    """
    if not entries:
        return [], []
    first = entries[0].length
    taken, longest, total = {0}, first, first
    for index in sorted(range(1, len(entries)), key=lambda index: (abs(entries[index].length - first), index)):
        if len(taken) >= max_items:
            break
        length = entries[index].length
        padded = (len(taken) + 1) * max(longest, length)
        if padded > max_tokens or padded * (1 - MAX_PADDING) > total + length:
            continue
        taken.add(index)
        longest, total = max(longest, length), total + length
    batch = [entry for index, entry in enumerate(entries) if index in taken]
    return batch, [entry for index, entry in enumerate(entries) if index not in taken]
