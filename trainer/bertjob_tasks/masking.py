"""
Which tokens are hidden from a model that learns to fill them in, and what stands in their place.

15 of 100 tokens are chosen, never special ones. Of these 80 of 100 become [MASK], 10 another token at random, and 10 stay: the
model must not learn that only [MASK] is to be filled in. Source: Devlin et al. 2018 (arXiv:1810.04805), 3.1.

Shapes: T tokens of N texts, one text after another; V pieces of the vocabulary; M tokens chosen.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bertjob_tasks.draws import fractions, random_numbers
from bertjob_tasks.encoding import Ids

RATE: Final = 0.15
_INNER: Final = "##"
"""Before a piece that goes on with a word."""
_HIDDEN: Final = 0.8
_RANDOM: Final = 0.1
_CHOICE, _FATE, _SUBSTITUTE = range(3)
"""Last part of the keys: what is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """What must be known of a vocabulary."""

    mask_id: int
    is_special: NDArray[np.bool_]
    """(V,): never chosen, and never put in another's place."""
    is_inner: NDArray[np.bool_]
    """(V,): goes on with the word before it."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, size: int) -> "Pieces":
        """Return what a tokenizer knows of *size* pieces; numbers without a piece are as special ones."""
        is_special, is_inner = np.ones(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
        for piece, number in tokenizer.get_vocab(with_added_tokens=True).items():
            is_special[number] = False
            is_inner[number] = piece.startswith(_INNER)
        special = [number for number, added in tokenizer.get_added_tokens_decoder().items() if added.special]
        is_special[special] = True
        mask_id = tokenizer.token_to_id("[MASK]")
        assert mask_id is not None, "every tokenizer that is loaded has [MASK]"
        return cls(mask_id=mask_id, is_special=is_special, is_inner=is_inner)


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """Texts with some of their tokens hidden."""

    ids: Ids
    """(T,): what the model sees."""
    chosen: NDArray[np.int64]
    """(M,) places of the chosen tokens among the T, ascending."""
    targets: NDArray[np.int64]
    """(M,): which tokens they are."""


def masked(
    ids: Ids, lengths: NDArray[np.int64], pieces: Pieces, *, key: tuple[int, ...], rate: float, whole_words: bool
) -> Masked:
    """
    Return texts with tokens hidden for training; the same key hides the same ones.

    Args:
        ids: (T,) tokens of all texts.
        lengths: (N,) tokens of each text.
        pieces: of the vocabulary.
        key: decides everything.
        rate: share of the tokens that are chosen, one of each text at least.
        whole_words: choose all pieces of a word or none.

    """
    chosen = choose(ids, lengths, pieces, key=key, rate=rate, whole_words=whole_words)
    seen, fate = ids.copy(), fractions(len(chosen), *key, _FATE)
    seen[chosen[fate < _HIDDEN]] = pieces.mask_id
    swapped = chosen[(fate >= _HIDDEN) & (fate < _HIDDEN + _RANDOM)]
    ordinary = np.flatnonzero(~pieces.is_special).astype(np.int32)
    numbers = random_numbers(len(swapped), *key, _SUBSTITUTE)
    seen[swapped] = ordinary[(numbers % np.uint64(max(1, len(ordinary)))).astype(np.int64)]
    return Masked(seen, chosen, ids[chosen].astype(np.int64))


def choose(
    ids: Ids, lengths: NDArray[np.int64], pieces: Pieces, *, key: tuple[int, ...], rate: float, whole_words: bool
) -> NDArray[np.int64]:
    """Return the places (M,) of the chosen tokens, ascending; arguments as in ``masked``."""
    text = np.repeat(np.arange(len(lengths)), lengths)
    places = np.flatnonzero(~pieces.is_special[ids])
    if not len(places):
        return places.astype(np.int64)
    starts = _word_starts(ids, places, text, pieces) if whole_words else np.ones(len(places), dtype=np.bool_)
    word = np.cumsum(starts) - 1  # (tokens,) the word of each of the places
    sizes, owner = np.bincount(word), text[places[starts]]
    wanted = np.maximum(1, np.rint(rate * np.bincount(owner, weights=sizes, minlength=len(lengths))))
    order = np.lexsort((random_numbers(len(sizes), *key, _CHOICE), owner))  # words of each text, shuffled
    before = _before(sizes[order], owner[order])
    kept = np.zeros(len(sizes), dtype=np.bool_)
    # Words are taken until the next one would be too much; the first is always taken, so that every text is learnt from.
    kept[order] = (before + sizes[order] <= wanted[owner[order]]) | (before == 0)
    found: NDArray[np.int64] = places[kept[word]].astype(np.int64)
    return found


def _word_starts(ids: Ids, places: NDArray[Any], text: NDArray[Any], pieces: Pieces) -> NDArray[np.bool_]:
    """Return whether each of *places* begins a word: it is no inner piece, or what it would go on with is no neighbour."""
    starts: NDArray[np.bool_] = ~pieces.is_inner[ids[places]]
    starts[0] = True
    starts[1:] |= (np.diff(places) > 1) | (np.diff(text[places]) > 0)
    return starts


def _before(sizes: NDArray[Any], owner: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of the sizes before each within its owner; owners stand together."""
    total = np.cumsum(sizes) - sizes
    first = np.searchsorted(owner, owner)
    found: NDArray[Any] = total - total[first]
    return found
