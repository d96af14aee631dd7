"""Which texts go to the engine together."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bertjob_serving.predictor.batching import MAX_PADDING, form_batch


@dataclass(frozen=True)
class _Text:
    number: int
    length: int


def _texts(lengths: list[int]) -> list[_Text]:
    return [_Text(number, length) for number, length in enumerate(lengths)]


LENGTHS = st.lists(st.integers(1, 512), max_size=50)


@given(LENGTHS, st.integers(1, 4096), st.integers(1, 20))
def test_nothing_is_lost_or_doubled(lengths: list[int], max_tokens: int, max_items: int) -> None:
    """Batch and rest together are the entries, each in order of arrival."""
    entries = _texts(lengths)

    batch, rest = form_batch(entries, max_tokens=max_tokens, max_items=max_items)

    assert sorted(batch + rest, key=lambda entry: entry.number) == entries
    assert batch == sorted(batch, key=lambda entry: entry.number)
    assert rest == sorted(rest, key=lambda entry: entry.number)


@given(LENGTHS, st.integers(1, 4096), st.integers(1, 20))
def test_budgets_hold_and_the_oldest_goes_first(lengths: list[int], max_tokens: int, max_items: int) -> None:
    """The oldest is in the batch; with company it keeps tokens, items and padding within their limits."""
    batch, _ = form_batch(_texts(lengths), max_tokens=max_tokens, max_items=max_items)

    assert [entry.number for entry in batch[:1]] == [0][: len(lengths)]
    assert len(batch) <= max_items
    if len(batch) > 1:
        padded = len(batch) * max(entry.length for entry in batch)
        assert padded <= max_tokens
        assert padded * (1 - MAX_PADDING) <= sum(entry.length for entry in batch)


@given(LENGTHS, st.integers(1, 4096), st.integers(1, 20))
def test_all_are_served_in_the_end(lengths: list[int], max_tokens: int, max_items: int) -> None:
    """Batch after batch, the queue becomes empty."""
    rest, rounds = _texts(lengths), 0
    while rest:
        _, rest = form_batch(rest, max_tokens=max_tokens, max_items=max_items)
        rounds += 1

    assert rounds <= len(lengths)


def test_texts_of_like_length_travel_together() -> None:
    """A long text between short ones waits for the next batch."""
    batch, rest = form_batch(_texts([10, 500, 11, 9]), max_tokens=4096, max_items=16)

    assert [entry.length for entry in batch] == [10, 11, 9]
    assert [entry.length for entry in rest] == [500]
