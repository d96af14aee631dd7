"""
Spans in tagged words, and how many of them are right.

Tags are BIO: ``B-X`` begins a span of kind X, ``I-X`` goes on with it, ``O`` is outside. An ``I-X`` that follows no X begins one
too, as in the CoNLL-2000 evaluation. Any other tag, such as a part of speech, is a span of its one word.
Source: Ramshaw and Marcus 1995; Tjong Kim Sang and Buchholz 2000 (conlleval).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

OUTSIDE: Final = "O"


class Span(NamedTuple):
    """Words of one kind."""

    kind: str
    start: int
    """First word."""
    end: int
    """One past the last word."""


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans of one sentence's tags, in order."""
    found: list[Span] = []
    for number, tag in enumerate(tags):
        if tag == OUTSIDE:
            continue
        prefix, _, kind = tag.partition("-")
        prefix, kind = (prefix, kind) if prefix in ("B", "I") and kind else ("B", tag)
        last = found[-1] if found else None
        if prefix == "I" and last is not None and last.end == number and last.kind == kind:
            found[-1] = last._replace(end=number + 1)
        else:
            found.append(Span(kind, number, number + 1))
    return found


def counts(predicted: Sequence[str], expected: Sequence[str]) -> tuple[int, int, int]:
    """Return how many spans of one sentence are hit (same words, same kind), predicted, and expected."""
    got, wanted = set(spans(predicted)), set(spans(expected))
    return len(got & wanted), len(got), len(wanted)
