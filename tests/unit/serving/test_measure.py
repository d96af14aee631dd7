"""Measuring: what is asked, in which order, and what becomes of the times."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_serving.optimize import contain, heldout, measure
from bertjob_serving.optimize.bundle import Bundle, Settings, spread
from bertjob_serving.optimize.invented import invented
from bertjob_tasks.encoding import Encoded


@given(st.lists(st.integers(1, 6), max_size=60), st.integers(1, 7))
def test_batches_hold_each_text_once_and_pad_nothing(lengths: list[int], size: int) -> None:
    """Every index comes once, in groups of one length and at most *size*."""
    groups = list(measure.batches(lengths, size=size))

    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(len(group) <= size and len({lengths[index] for index in group}) == 1 for group in groups)


class _ByFirstToken:
    """An engine whose class is the first token."""

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return a one for the class."""
        assert mask.all()
        return np.eye(9)[ids[:, 0]]


def test_answers_come_in_the_order_of_the_items() -> None:
    """Sorting by length for speed does not show in the result, and an item is answered from all of its inputs."""

    def an_item(number: int) -> tuple[Encoded, ...]:
        inputs = [np.array([(number + place) % 9] * (1 + (number * place) % 4), np.int32) for place in range(3)]
        return tuple(Encoded(ids, np.zeros_like(ids)) for ids in inputs[: 1 + number % 3])

    items, told = [an_item(number) for number in range(50)], list[int]()

    def reduce(outputs: Sequence[np.ndarray], tokens: Sequence[Encoded]) -> tuple[int, ...]:
        assert [output.argmax() for output in outputs] == [item.ids[0] for item in tokens]
        return (int(outputs[0].argmax()), len(outputs))

    found = measure.answers(_ByFirstToken(), items, reduce=reduce, answered=told.append)

    assert found == tuple(part for number in range(50) for part in (number % 9, 1 + number % 3))
    assert told == sorted(told)
    assert told[-1] == 50


class _Crowded:
    """An engine whose class is how many inputs it was asked together."""

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return a one for the class."""
        assert mask.all()
        return np.eye(9)[[len(ids)] * len(ids)]


@pytest.mark.parametrize(("size", "expected"), [(1, [1] * 6), (4, [4, 4, 4, 4, 2, 2])])
def test_inputs_are_asked_alone_where_told_so(size: int, expected: list[int]) -> None:
    """What answers otherwise beside others is measured as it will be served: one at a time."""
    items = [(Encoded(np.zeros(3, np.int32), np.zeros(3, np.int32)),)] * 6

    found = measure.answers(_Crowded(), items, reduce=lambda outputs, _: (int(outputs[0].argmax()),), size=size)

    assert list(found) == expected


def test_rounds_alternate_and_the_cold_one_is_dropped() -> None:
    """Each engine gets every text once a round, who begins changes, and the first round is not in the result."""
    asked: list[str] = []
    engines = {name: (lambda _ids, name=name: asked.append(name)) for name in "ab"}

    taken = measure.interleaved(engines, [np.zeros(1, np.int32)] * 2, rounds=3, budget_s=1e9)

    assert "".join(asked) == "bbaa" + "aabb" + "bbaa" + "aabb"
    assert {name: np.array(rounds).shape for name, rounds in taken.items()} == {"a": (3, 2), "b": (3, 2)}


def test_budget_ends_the_rounds_but_not_before_enough_were_timed() -> None:
    """An exhausted budget leaves the fewest rounds that tell anything."""
    taken = measure.interleaved({"a": lambda _ids: None}, [np.zeros(1, np.int32)], rounds=50, budget_s=0)

    assert len(taken["a"]) == measure.MIN_ROUNDS


def test_ratio_is_of_whole_rounds() -> None:
    """A round's speed-up is total time over total time."""
    assert measure.ratios([[1.0, 3.0], [2.0, 2.0]], [[1.0, 1.0], [4.0, 4.0]]) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("pass", None),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "most likely for memory"),
        ("import os; os.abort()", "SIGABRT"),
    ],
    ids=["well", "error", "killed", "crashed"],
)
def test_how_a_process_ended_is_told(code: str, reason: str | None) -> None:
    """Success is None; everything else is a sentence about the cause."""
    told = contain.run([sys.executable, "-c", code], timeout_s=60)

    assert (told is None) if reason is None else (told is not None and reason in told)


def test_hanging_process_is_stopped_with_its_children() -> None:
    """After the time limit nothing of it is left."""
    own = f"of test run {os.getpid()}"  # another run on this machine may be at the same test
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'import signal; signal.pause()', '{own}'])"

    told = contain.run([sys.executable, "-c", child], timeout_s=0.5)

    assert told is not None
    assert "was stopped after" in told
    left = subprocess.run(["pgrep", "-f", own], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_ending_names_signals() -> None:
    """A segmentation fault is called by its name."""
    assert "SIGSEGV" in str(contain.ending(-signal.SIGSEGV))


@given(st.integers(0, 300), st.integers(1, 40))
def test_sample_is_stable_ordered_and_of_the_wanted_size(count: int, wanted: int) -> None:
    """The same items give the same sample, in their order, each at most once."""
    found = heldout.sample(range(count), wanted=wanted)

    assert found == heldout.sample(range(count), wanted=wanted)
    assert found == sorted(set(found))
    assert len(found) == min(count, wanted)


def test_sample_reaches_all_parts() -> None:
    """Late items have the same chance as early ones."""
    found = heldout.sample(range(100_000), wanted=1000)

    assert abs(np.mean(found) - 50_000) < 3000


@pytest.mark.parametrize(("count", "expected"), [(0, ()), (3, (0, 1, 2)), (10, (0, 2, 5, 7))])
def test_spread(count: int, expected: tuple[int, ...]) -> None:
    """The golden set is spread over the held-out data."""
    assert spread(count, wanted=4) == expected


def test_invented_inputs_have_the_form_and_other_words() -> None:
    """Length, ends and kept tokens stay; the words are drawn, the same at every call, and never one that is kept."""
    ids = np.array([2, *range(100, 130), 4, *range(130, 160), 3], np.int32)

    found = [invented(ids, kept={3, 4}, vocabulary=1000, number=number) for number in (0, 0, 1)]

    assert all(np.flatnonzero(np.isin(got, (3, 4))).tolist() == [31, 62] for got in found)
    assert all((got.dtype, got[0], len(got)) == (np.int32, 2, len(ids)) for got in found)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).mean() < 0.2
    assert (found[0] == ids).mean() < 0.2


def test_bundle_survives_the_way_to_the_process(tmp_path: Path) -> None:
    """What is saved is what is loaded, empty parts included."""
    bundle = Bundle(
        heldout=(np.array([1, 2], np.int32), np.array([3], np.int32)),
        types=(np.array([0, 1], np.int32), np.array([0], np.int32)),
        counts=(2,),
        calibration=(),
        golden=(0, 1),
        golden_texts=("a", ("\u4e2d", "b")),
        settings=Settings(threads=1, max_length=8, task="sentence-pair", sep_id=3, take=(1, 0)),
    )
    bundle.save(tmp_path)

    loaded = Bundle.load(tmp_path)

    assert [ids.tolist() for ids in loaded.heldout] == [[1, 2], [3]]
    assert [[tokens.type_ids.tolist() for tokens in item] for item in loaded.items] == [[[0, 1], [0]]]
    assert loaded.calibration == ()
    assert (loaded.golden, loaded.golden_texts, loaded.settings) == (
        bundle.golden,
        bundle.golden_texts,
        bundle.settings,
    )
