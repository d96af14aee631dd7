"""Waits grow, stay bounded and spread."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bertjob_operator.runtime import delays

FIRST = timedelta(milliseconds=5)
MOST = timedelta(seconds=300)


@given(failures=st.integers(0, 10_000))
def test_exponential_never_shrinks_and_never_passes_its_bound(failures: int) -> None:
    """However many failures came before, the next wait is at least as long and at most the bound."""
    wait = delays.exponential(failures, first=FIRST, most=MOST)
    longer = delays.exponential(failures + 1, first=FIRST, most=MOST)

    assert FIRST <= wait <= longer <= MOST


def test_exponential_doubles() -> None:
    """Each failure doubles the wait."""
    waits = [delays.exponential(failures, first=FIRST, most=MOST) / FIRST for failures in range(5)]

    assert waits == [1, 2, 4, 8, 16]


@given(share=st.floats(0, 1, exclude_max=True))
def test_jitter_keeps_at_least_half(share: float) -> None:
    """A jittered wait lies between half of the wait and all of it."""
    assert MOST / 2 <= delays.jittered(MOST, share=share) <= MOST
