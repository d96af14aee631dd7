"""
How right an answer is, as the SQuAD leaderboard counts it.

Source: Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822), the official evaluate-v2.0.py: texts are compared in
lower case, without punctuation and English articles.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Final

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> list[str]:
    """Return the words of *text* that count."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def exact_match(predicted: str, answers: Sequence[str]) -> float:
    """Return 1 when *predicted* is one of the *answers*, else 0; both are empty where there is no answer."""
    return float(any(normalized(predicted) == normalized(answer) for answer in _counted(answers)))


def f1(predicted: str, answers: Sequence[str]) -> float:
    """Return the F1 of the words of *predicted* against the answer that is nearest to it, 0 to 1."""
    return max(_f1(normalized(predicted), normalized(answer)) for answer in _counted(answers))


def _f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    if not predicted or not expected:
        return float(predicted == expected)
    hits = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * hits / (len(predicted) + len(expected))


def _counted(answers: Sequence[str]) -> Sequence[str]:
    """Return the answers that have words at all; none is one that is empty."""
    return [answer for answer in answers if normalized(answer)] or [""]
