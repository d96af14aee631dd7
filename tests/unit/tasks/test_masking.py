"""Which tokens are hidden."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import VOCAB, a_vocab_folder

from bertjob_tasks import masking, tokenizer_files
from bertjob_tasks.masking import Pieces

SPECIAL, SIZE, MASK = 5, 1000, 4
PIECES = Pieces(mask_id=MASK, is_special=np.arange(SIZE) < SPECIAL, is_inner=np.arange(SIZE) % 4 == 3)
OPTIONS: dict[str, Any] = {"rate": 0.15, "whole_words": False}


def some_texts(count: int, *, seed: int = 0) -> tuple[Any, Any]:
    """Return tokens and lengths of texts between [CLS] and [SEP]."""
    rng = np.random.default_rng(seed)
    texts = [
        np.concatenate([[2], rng.integers(SPECIAL, SIZE, size=rng.integers(1, 60)), [3]]).astype(np.int32)
        for _ in range(count)
    ]
    return np.concatenate(texts), np.array([len(text) for text in texts])


def test_shares_are_those_of_the_paper() -> None:
    """Of 100 tokens 15 are chosen; of these 80 are hidden, 10 others, 10 as they were."""
    ids, lengths = some_texts(4000)
    found = masking.masked(ids, lengths, PIECES, key=(1, 2), **OPTIONS)
    ordinary = int((ids >= SPECIAL).sum())
    assert len(found.chosen) / ordinary == pytest.approx(0.15, abs=0.005)
    seen = found.ids[found.chosen]
    assert np.mean(seen == MASK) == pytest.approx(0.8, abs=0.01)
    assert np.mean(seen == found.targets) == pytest.approx(0.1, abs=0.01)
    swapped = seen[(seen != MASK) & (seen != found.targets)]
    assert len(swapped) / len(seen) == pytest.approx(0.1, abs=0.01)
    assert swapped.min() >= SPECIAL
    assert len(np.unique(swapped)) > SIZE * 0.8


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 99), st.booleans(), st.sampled_from([0.05, 0.15, 0.5]))
def test_only_chosen_tokens_change_and_every_text_has_some(count: int, seed: int, whole: bool, rate: float) -> None:
    """Special tokens are never chosen, the rest stays, and no text has more than its share."""
    ids, lengths = some_texts(count, seed=seed)
    found = masking.masked(ids, lengths, PIECES, key=(seed,), rate=rate, whole_words=whole)
    assert (np.diff(found.chosen) > 0).all()
    assert (ids[found.chosen] == found.targets).all()
    assert (found.targets >= SPECIAL).all()
    same = np.delete(found.ids, found.chosen)
    assert (same == np.delete(ids, found.chosen)).all()
    for part in np.split(np.isin(np.arange(len(ids)), found.chosen), np.cumsum(lengths)[:-1]):
        assert part.sum() >= 1
        if not whole:
            assert part.sum() == max(1, round(rate * (len(part) - 2)))


def test_whole_words_are_chosen_whole() -> None:
    """With whole words a piece is chosen when the piece before it, which it goes on with, is."""
    ids, lengths = some_texts(300)
    found = masking.masked(ids, lengths, PIECES, key=(5,), rate=0.15, whole_words=True)
    is_chosen = np.isin(np.arange(len(ids)), found.chosen)
    goes_on = PIECES.is_inner[ids] & (ids >= SPECIAL) & (np.roll(ids, 1) >= SPECIAL)
    assert (is_chosen[goes_on] == np.roll(is_chosen, 1)[goes_on]).all()
    assert len(found.chosen) / (ids >= SPECIAL).sum() == pytest.approx(0.14, abs=0.02)


def test_key_decides_everything() -> None:
    """The same key gives the same choice in any company of machines, another key another one."""
    ids, lengths = some_texts(20)
    first, again, other = (masking.masked(ids, lengths, PIECES, key=(9, step), **OPTIONS) for step in (1, 1, 2))
    assert (first.ids == again.ids).all()
    assert not np.array_equal(first.chosen, other.chosen)


def test_texts_of_special_tokens_alone_have_nothing_to_choose() -> None:
    """An empty text is no error."""
    found = masking.masked(np.array([2, 3], np.int32), np.array([2]), PIECES, key=(0,), **OPTIONS)
    assert (found.ids.tolist(), found.chosen.tolist()) == ([2, 3], [])


def test_a_tokenizer_names_its_special_and_inner_pieces(tmp_path: Path) -> None:
    """What is special, what goes on with a word, and numbers of the model without a piece are read from the tokenizer."""
    pieces = Pieces.of(tokenizer_files.load(a_vocab_folder(tmp_path)), size=len(VOCAB) + 3)
    assert np.flatnonzero(pieces.is_special).tolist() == [0, 1, 2, 3, 4, len(VOCAB), len(VOCAB) + 1, len(VOCAB) + 2]
    assert [VOCAB[number] for number in np.flatnonzero(pieces.is_inner)] == ["##s", "##ly"]
    assert pieces.mask_id == VOCAB.index("[MASK]")
