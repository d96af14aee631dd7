"""What one engine answers, and how long it takes beside another one."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from bertjob_serving.optimize.weights import Array
from bertjob_tasks.task import Windows

BATCH: Final = 16
"""Inputs of one length that are answered at once."""
MIN_ROUNDS: Final = 5
"""Rounds that are timed whatever the budget says: fewer tell nothing about their spread."""

Rounds = list[list[float]]
"""Seconds of each text in each round."""


Reduce = Callable[[Sequence[Array], Windows], tuple[float, ...]]
"""The answer to one item, from the outputs (L,) or (S, L) of each of its inputs, as a few numbers."""


class Engine(Protocol):
    """What is asked of an engine."""

    def logits(self, ids: Array, mask: Array) -> Array:
        """Return the logits (B, L) or (B, S, L) of token ids (B, S)."""
        ...


def answers(
    engine: Engine,
    items: Sequence[Windows],
    *,
    reduce: Reduce,
    size: int = BATCH,
    answered: Callable[[int], None] = lambda _: None,
) -> tuple[float, ...]:
    """
    Return the answers that *engine* gives to *items*, one after another.

    Args:
        engine: what computes.
        items: the inputs of each.
        reduce: makes the answer to one item.
        size: most inputs at once; 1 where answers depend on those beside them, so that they are what will be served.
        answered: is told how many are done so far.

    """
    places = [(number, place) for number, item in enumerate(items) for place in range(len(item))]
    inputs = [items[number][place].ids for number, place in places]
    outputs: list[dict[int, Array]] = [{} for _ in items]
    found: dict[int, tuple[float, ...]] = {}
    for batch in batches([len(ids) for ids in inputs], size=size):
        ids = np.stack([inputs[index] for index in batch])
        for index, output in zip(batch, engine.logits(ids, np.ones_like(ids)), strict=True):
            number, place = places[index]
            outputs[number][place] = output
            if len(outputs[number]) == len(items[number]):
                found[number] = reduce([outputs[number][at] for at in range(len(items[number]))], items[number])
                outputs[number].clear()  # of tokens there are many, and only the answer is needed
        answered(len(found))
    return tuple(number for index in range(len(items)) for number in found[index])


def batches(lengths: Sequence[int], *, size: int) -> Iterator[list[int]]:
    """Yield the indices of *lengths* in groups of equal length, so that nothing is padded."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (lengths[index], index)):
        if batch and (len(batch) == size or lengths[index] != lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def interleaved(
    engines: Mapping[str, Callable[[Array], object]], texts: Sequence[Array], *, rounds: int, budget_s: float
) -> dict[str, Rounds]:
    """
    Return the seconds that each engine takes for each text, one at a time, round by round.

    In a round every engine works through all texts; who begins changes from round to round. The first round is not counted:
    caches are cold. Rounds end after *rounds*, or when *budget_s* is over and ``MIN_ROUNDS`` are done.
    """
    taken: dict[str, Rounds] = {name: [] for name in engines}
    start = time.monotonic()
    for number in range(rounds + 1):
        order = list(engines) if number % 2 else list(engines)[::-1]
        for name in order:
            seconds = [_timed(engines[name], ids) for ids in texts]
            if number > 0:
                taken[name].append(seconds)
        if number >= MIN_ROUNDS and time.monotonic() - start > budget_s:
            break
    return taken


def length_sample(texts: Sequence[Array], *, wanted: int) -> list[Array]:
    """Return *wanted* of *texts* whose lengths are spread as those of all are, in an order without meaning; or all."""
    by_length = sorted(texts, key=len)
    count = len(by_length)
    picked = (
        by_length if count <= wanted else [by_length[(2 * part + 1) * count // (2 * wanted)] for part in range(wanted)]
    )
    return [picked[index] for index in np.random.default_rng(0).permutation(len(picked)).tolist()]


def _timed(infer: Callable[[Array], object], ids: Array) -> float:
    start = time.perf_counter()
    infer(ids)
    return time.perf_counter() - start


def percentile_ms(rounds: Rounds, percent: float) -> float:
    """Return a percentile over all texts and rounds, in milliseconds."""
    return round(float(np.percentile(np.array(rounds), percent)) * 1e3, 3)


def ratios(slow: Rounds, fast: Rounds) -> tuple[float, ...]:
    """Return how many times faster *fast* was than *slow* in each round, over all texts of the round."""
    return tuple(sum(before) / sum(after) for before, after in zip(slow, fast, strict=True))
