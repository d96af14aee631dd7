"""
Which words a task's language needs: the others' embeddings are half of a small INT8 model, and it never looks them up.

Texts are cut into the same tokens as before; a token whose embedding was left out is looked up as [UNK].
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from bertjob_serving.engine import Array

LEAST: Final = 0.001
"""Share of the texts' letters from which on a script is one of the language's; a stray name does not keep a whole script."""
_PLACEHOLDER: Final = "[unused"


def script(letter: str) -> str | None:
    """Return the script of a character, such as LATIN, as the first word of its Unicode name; None: it is no letter."""
    if unicodedata.category(letter)[0] not in "LM":
        return None
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]


def scripts(words: Mapping[str, int]) -> frozenset[str]:
    """Return the scripts that *words*, each with how often it was seen, are written in."""
    counts: dict[str, int] = {}
    for word, seen in words.items():
        for letter in word:
            if (name := script(letter)) is not None:
                counts[name] = counts.get(name, 0) + seen
    total = sum(counts.values())
    return frozenset(name for name, count in counts.items() if count >= LEAST * total)


def of_language(tokens: Sequence[str], texts: Iterable[Array], *, always: Iterable[int]) -> tuple[int, ...]:
    """
    Return the ids of the tokens that the language of *texts* needs, ascending.

    Kept are what the texts have, what is written in their scripts, and what has no letters, such as digits; placeholders and
    other scripts are left out.

    Args:
        tokens: spelling of each id.
        texts: token ids (S,) of training texts.
        always: ids that are kept in any case.

    """
    counts = np.bincount(np.concatenate([*texts, np.zeros(0, np.int64)]).astype(np.int64), minlength=len(tokens))
    seen = {tokens[index]: int(counts[index]) for index in np.flatnonzero(counts).tolist()}
    known = scripts(seen)
    kept = {index for index, token in enumerate(tokens) if _is_written_in(token, known)}
    return tuple(sorted({*kept, *np.flatnonzero(counts).tolist(), *always}))


def _is_written_in(token: str, known: frozenset[str]) -> bool:
    if token.startswith(_PLACEHOLDER):
        return False
    return all(name is None or name in known for name in map(script, token))
