"""The benchmark's own arithmetic."""

import numpy as np
import pytest
from benchmarks.int8 import timing


def test_every_engine_has_every_place_and_the_cold_round_is_dropped() -> None:
    """The order turns from round to round; each block is one call that is not timed, then every text twice."""
    asked: list[str] = []
    engines = {name: (lambda _ids, name=name: asked.append(name)) for name in "abc"}

    found = timing.rounds(engines, [np.zeros(1, np.int32)] * 2, count=2)

    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 2, "b": 2, "c": 2}
    assert "".join(asked[::5]) == "abc" + "bca" + "cab"
    assert len(asked) == 3 * 3 * 5


def test_ratio_is_the_median_of_the_rounds() -> None:
    """One bad round changes nothing."""
    assert timing.ratio([2.0, 4.0, 100.0], [1.0, 2.0, 1.0]) == 2.0


@pytest.mark.parametrize(
    ("baseline", "factor"), [([1.0] * 9, 1.0), ([1.0] * 6 + [2.0] * 3, 2.0), ([2.0] * 3 + [1.0] * 6, 2.0)]
)
def test_drift_is_first_to_last_third(baseline: list[float], factor: float) -> None:
    """Slower and faster alike are drift, and too much of it is refused with its figure."""
    assert timing.drift(baseline) == factor
    if factor > timing.MOST_DRIFT:
        with pytest.raises(timing.DriftError, match=r"changed by a factor of 2\.00 during the run"):
            timing.refuse_drift(baseline, what="128 tokens")
