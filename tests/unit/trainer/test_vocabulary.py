"""A vocabulary that is learnt from texts."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bertjob_tasks.errors import NoExamplesError
from bertjob_trainer import vocabulary


def some_texts() -> Iterator[str]:
    """Yield texts of a few hundred different words, some of them with accents and capitals."""
    rng = random.Random(7)  # noqa: S311
    parts = ["ka", "lo", "mi", "t\u00e9", "Ru", "n", "sch", "a"]
    words = ["".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(400)]
    for _ in range(500):
        yield " ".join(rng.choices(words, k=8)) + "."


def test_size_is_kept_and_the_beginning_is_fixed() -> None:
    """As many pieces come as are asked for: special ones first, then single characters, then what is frequent."""
    pieces = vocabulary.learn(some_texts, size=150, lowercase=True)
    assert len(pieces) == len(set(pieces)) == 150
    assert pieces[:7] == (*vocabulary.SPECIAL, ".", "a")
    assert "##sch" in pieces
    assert not any(character.isupper() or character == "\u00e9" for piece in pieces[5:] for character in piece)


def test_case_and_accents_can_count() -> None:
    """Without folding, capitals and accents are characters of their own."""
    pieces = vocabulary.learn(some_texts, size=150, lowercase=False)
    assert {"R", "\u00e9"} <= set(pieces)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_same_texts_give_the_same_pieces_in_every_process(threads: str) -> None:
    """Neither hash seeds nor threads show: the library alone would number the pieces by chance."""
    code = (
        "import hashlib, sys; sys.path[:0] = sys.argv[1].split('|')\n"
        "from test_vocabulary import some_texts\n"
        "from bertjob_trainer import vocabulary\n"
        "print(hashlib.sha256('|'.join(vocabulary.learn(some_texts, size=150, lowercase=True)).encode()).hexdigest())"
    )
    here = str(Path(__file__).parent)
    env = {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"}
    argv = [sys.executable, "-B", "-c", code, "|".join([here, *filter(None, sys.path)])]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    own = "|".join(vocabulary.learn(some_texts, size=150, lowercase=True))
    assert done.stdout.strip() == hashlib.sha256(own.encode()).hexdigest()


def test_ideographs_and_marks_never_stand_inside_words() -> None:
    """A piece that no text can use takes no number."""
    pieces = vocabulary.learn(lambda: ["\u4e2d\u6587 ok, \u4e2d!"] * 3, size=None, lowercase=True)
    assert {"\u4e2d", "\u6587", ",", "!", "o", "##k", "ok"} <= set(pieces)
    assert not {"##\u4e2d", "##\u6587", "##,", "##!"} & set(pieces)


def test_default_size_follows_the_corpus() -> None:
    """Small corpora get small vocabularies, and none gets more than the published English BERT has."""
    assert vocabulary.default_size(10, known=60) == 1060
    assert vocabulary.default_size(1_000_000, known=60) == 5060
    assert vocabulary.default_size(10**9, known=60) == 30_522


def test_no_text_is_refused() -> None:
    """Nothing to learn from is the user's mistake."""
    with pytest.raises(NoExamplesError, match=r"check spec\.data\.train"):
        vocabulary.learn(list, size=None, lowercase=True)
