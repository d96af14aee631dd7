"""
A text's words, for models that tag words.

Data come in words already; texts of clients are cut here, so that a client's text and the same words of a data set are tagged
alike: at white space, each punctuation mark and each ideograph by itself.
"""

import re
from typing import Final, NamedTuple

_IDEOGRAPHS: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Written without spaces, and tagged one by one. Source: Devlin et al., google-research/bert, tokenization.py."""
_WORD: Final = re.compile(
    rf"[{_IDEOGRAPHS}]"  # one ideograph
    rf"|[@#]?(?:(?![{_IDEOGRAPHS}])\w)+(?:['\u2019.\-](?:(?![{_IDEOGRAPHS}])\w)+)*"  # don't, U.S, well-known, 3.5, @name
    r"|[^\w\s]"  # one mark
)


class Word(NamedTuple):
    """A word and its place in the text."""

    text: str
    start: int
    """First character."""
    end: int
    """One past the last."""


def split(text: str) -> list[Word]:
    """Return the words of *text* in order; a text of white space alone has none."""
    return [Word(found[0], found.start(), found.end()) for found in _WORD.finditer(text)]
