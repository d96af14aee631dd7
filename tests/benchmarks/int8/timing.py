"""Times of several engines side by side, on a machine that may not be quiet."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Ask = Callable[[Any], object]
"""Asks an engine: token ids (S,), or a text."""

_TIMED: Final = 2
_PAUSE_S: Final = 0.005
"""For the threads of the engine before to stop waiting for work."""
MOST_DRIFT: Final = 1.15
"""Greatest ratio between the medians of the baseline's first and last third: beyond it other work was measured too."""


class DriftError(Exception):
    """The baseline became faster or slower while the others were compared with it."""


def rounds(engines: Mapping[str, Ask], texts: Sequence[Any], *, count: int) -> dict[str, list[float]]:
    """
    Return the seconds that each engine takes for all *texts*, one at a time, in each of *count* rounds.

    Every engine has a block in every round: a pause, one call that is not timed, then the timed ones. The order turns by one
    from round to round, and one more round at the start is dropped, for caches are cold.
    """
    found: dict[str, list[float]] = {name: [] for name in engines}
    names = list(engines)
    for number in range(count + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds = _block(engines[name], texts)
            if number > 0:
                found[name].append(seconds)
    return found


def _block(ask: Ask, texts: Sequence[Any]) -> float:
    time.sleep(_PAUSE_S)
    ask(texts[0])
    times = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        for text in texts:
            ask(text)
        times.append(time.perf_counter() - started)
    return min(times)


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return the median over the rounds of how many times faster *fast* was than *slow*."""
    return float(np.median(np.array(slow) / np.array(fast)))


def drift(baseline: Sequence[float]) -> float:
    """Return the ratio, at least 1, between the medians of the first and the last third of the rounds."""
    third = max(1, len(baseline) // 3)
    first, last = float(np.median(baseline[:third])), float(np.median(baseline[-third:]))
    return max(first, last) / min(first, last)


def refuse_drift(baseline: Sequence[float], *, what: str) -> None:
    """Raise DriftError when the baseline changed too much."""
    got = drift(baseline)
    if got > MOST_DRIFT:
        message = (
            f"{what}: the baseline changed by a factor of {got:.2f} during the run, expected at most {MOST_DRIFT}; let nothing "
            "else run on this machine and measure again (finished pieces are kept), or pass --accept-drift to try the benchmark out"
        )
        raise DriftError(message)
