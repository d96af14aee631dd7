"""Bounds of measured figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_serving.optimize import estimates


def _answers(right: int, wrong: int) -> np.ndarray:
    return np.array([True] * right + [False] * wrong)


@pytest.mark.parametrize(("count", "high"), [(10, 0.2589), (149, 0.0199), (150, 0.0198), (1000, 0.003)])
def test_few_examples_cannot_prove_a_small_loss(count: int, high: float) -> None:
    """Without a single lost example the upper bound is what so many examples can miss."""
    right = _answers(count, 0)

    drop = estimates.accuracy_drop(right, right)

    assert (drop.value, drop.low) == (0.0, 0.0)
    assert drop.high == pytest.approx(high, abs=1e-4)


def test_needed_examples_are_just_enough() -> None:
    """The named number of examples proves the limit, one fewer does not."""
    needed = estimates.examples_needed(0.02)

    assert needed == 149
    assert estimates.accuracy_drop(*[_answers(needed, 0)] * 2).high <= 0.02
    assert estimates.accuracy_drop(*[_answers(needed - 1, 0)] * 2).high > 0.02


def test_pairing_makes_the_range_narrow() -> None:
    """Two models that err on the same examples differ by little, however many those are."""
    same = _answers(500, 500)
    flipped = same.copy()
    flipped[:4] = False

    drop = estimates.accuracy_drop(same, flipped)

    assert drop.value == pytest.approx(0.004)
    assert 0 < drop.low < drop.value < drop.high < 0.01


def test_bounds_are_those_of_the_binomial() -> None:
    """With losses only, the bounds are the 5 % and 95 % quantiles of the binomial distribution (40 of 1000: 30 and 50)."""
    reference, candidate = _answers(1000, 0), _answers(960, 40)

    drop = estimates.accuracy_drop(reference, candidate)

    assert drop.low == pytest.approx(0.030, abs=0.0011)
    assert drop.high == pytest.approx(0.050, abs=0.0011)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_drop_is_deterministic_and_within_its_bounds(pairs: list[tuple[bool, bool]]) -> None:
    """The same answers give the same estimate, whose value is what was observed and lies between the bounds."""
    reference, candidate = np.array(pairs).T

    drop = estimates.accuracy_drop(reference, candidate)

    assert drop == estimates.accuracy_drop(reference, candidate)
    assert drop.value == pytest.approx(reference.mean() - candidate.mean())
    assert drop.low <= drop.value + 1e-12
    assert drop.value <= drop.high + 1e-12


def test_typical_ignores_a_disturbed_round() -> None:
    """One round that was disturbed moves neither the median nor its bounds far."""
    quiet = estimates.typical([2.0, 2.1, 1.9, 2.0, 2.05, 1.95, 2.0])
    disturbed = estimates.typical([2.0, 2.1, 1.9, 2.0, 2.05, 1.95, 40.0])

    assert quiet.value == 2.0
    assert disturbed.value == 2.0
    assert 1.9 <= disturbed.low <= disturbed.high <= 2.1


def test_drop_of_right_and_wrong_is_the_exact_one() -> None:
    """One statistic of 0 or 1 is accuracy, which needs no resampling of examples."""
    rng = np.random.default_rng(1)
    reference, candidate = rng.random(50) < 0.8, rng.random(50) < 0.7

    got = estimates.metric_drop(
        *(side[:, None].astype(float) for side in (reference, candidate)), combine=lambda m: m[..., 0]
    )

    assert got == estimates.accuracy_drop(reference, candidate)


def test_drop_of_a_ratio_is_bounded_by_resampling_pairs() -> None:
    """A metric of several sums is compared on the same examples: noise that both share does not widen the bounds."""
    rng = np.random.default_rng(2)
    hits = rng.integers(0, 2, 400).astype(float)
    before = np.stack([hits, np.ones(400)], axis=1)
    after = before.copy()
    after[:20, 0] = 0

    def share(means: np.ndarray) -> np.ndarray:
        return means[..., 0] / means[..., 1]

    got = estimates.metric_drop(before, after, combine=share)

    assert got.value == pytest.approx(hits[:20].sum() / 400)
    assert 0 < got.low < got.value < got.high < 0.06
    assert estimates.metric_drop(before, before, combine=share).low == 0
