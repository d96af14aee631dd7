"""
Texts as inputs that fit into the model: of a long one several, with a question each with the whole question.

Shapes: L tokens of one input.
Source: Devlin et al., google-research/bert, run_squad.py (sliding windows over the paragraph).
"""

from typing import Final

import numpy as np

from bertjob_tasks.encoding import Encoded, Encoder, Ids, Pieces
from bertjob_tasks.task import Windows

QUESTION: Final = 64
"""Most tokens of a question; it never takes more than half of an input. Source: run_squad.py, ``max_query_length``."""
_SPECIAL: Final = 3
"""[CLS] before the question and [SEP] after both texts."""


def cut(count: int, *, room: int, stride: int) -> list[tuple[int, int]]:
    """
    Return the first and the last but one of each window over *count* tokens, at least one window.

    Args:
        count: tokens, 0 or more.
        room: most tokens of a window, at least 1.
        stride: tokens that neighbours share; at most half of a window is shared.

    """
    step = room - min(stride, room // 2)
    last = max(0, -(-(count - room) // step))
    return [(number * step, min(number * step + room, count)) for number in range(last + 1)]


def of_question(question: Pieces, text: Pieces, *, encoder: Encoder) -> Windows:
    """Return the inputs ``[CLS] question [SEP] part of the text [SEP]``, in the order of the text."""
    asked = question.ids[: min(QUESTION, (encoder.max_length - _SPECIAL) // 2)]
    room = encoder.max_length - _SPECIAL - len(asked)
    return tuple(
        _input(asked, text, part, encoder=encoder) for part in cut(len(text.ids), room=room, stride=encoder.stride)
    )


def of_text(text: Pieces, *, encoder: Encoder) -> Windows:
    """Return the inputs ``[CLS] part of the text [SEP]``, which share nothing, in the order of the text."""
    parts = cut(len(text.ids), room=encoder.max_length - 2, stride=0)
    return tuple(_single(text.ids[start:stop], encoder) for start, stop in parts)


def first_of_text(tokens: Encoded) -> int:
    """Return the number of the first token of the text in one of its windows; its last one is the last but one of all."""
    return int(tokens.type_ids.argmax())


def _single(ids: Ids, encoder: Encoder) -> Encoded:
    whole = np.concatenate([[encoder.cls_id], ids, [encoder.sep_id]]).astype(np.int32)
    return Encoded(whole, np.zeros_like(whole))


def _input(asked: Ids, text: Pieces, part: tuple[int, int], *, encoder: Encoder) -> Encoded:
    start, stop = part
    before, after = len(asked) + 2, stop - start + 1
    ids = np.concatenate([[encoder.cls_id], asked, [encoder.sep_id], text.ids[start:stop], [encoder.sep_id]])
    places = np.zeros((before + after, 2), dtype=np.int32)
    places[before:-1] = text.places[start:stop]
    types = np.repeat(np.array([0, 1], dtype=np.int32), [before, after])
    return Encoded(ids.astype(np.int32), types, places=places)
