"""Questions whose answers are worst on held-out data. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from bertjob_tasks import squad
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.question_answering import Gold, texts_of
from bertjob_tasks.task import Array, Features, Task, answers_of
from bertjob_trainer.report.findings import MOST_MISTAKES, NOTHING, Analysis, Mistake

_AROUND: Final = 90
"""Characters of a text that are shown before and after an answer."""


def look(task: Task[Any], features: Features, outputs: Sequence[Array], labels: tuple[str, ...]) -> Analysis:
    """Return how answers came out, and those that share least with every right one; of equal ones the first."""
    del labels
    gold: Gold = features.gold
    given = list(texts_of(features, answers_of(task, features, outputs)))
    f1 = np.array([squad.f1(text, right) for text, right in zip(given, gold.answers, strict=True)])
    exact = [squad.exact_match(text, right) for text, right in zip(given, gold.answers, strict=True)]
    counts = Counter(map(_outcome, given, gold.answers, f1.tolist(), exact))
    return Analysis(
        counts={name: counts[name] for name in _OUTCOMES if counts[name]},
        weighed="F1",
        quotes=True,
        mistakes=tuple(
            Mistake(
                index=int(row),
                expected=gold.answers[row][0] if gold.answers[row] else NOTHING,
                answered=given[row] or NOTHING,
                weight=f"{f1[row]:.2f}",
                read=(_question(features.inputs[features.slices[row].start]),),
                around=_around(gold.contexts[row], gold.answers[row][0] if gold.answers[row] else given[row]),
            )
            for row in np.argsort(f1, kind="stable")[:MOST_MISTAKES]
            if f1[row] < 1
        ),
    )


_EXACT, _PARTLY, _WRONG = "exactly right", "partly right", "wrong"
_INVENTED, _MISSED, _RIGHTLY_NONE = (
    "answered, though there is none",
    "not answered, though there is one",
    "rightly not answered",
)
_OUTCOMES: Final = (_EXACT, _RIGHTLY_NONE, _PARTLY, _WRONG, _INVENTED, _MISSED)


def _outcome(given: str, right: Sequence[str], f1: float, exact: float) -> str:
    if not right:
        return _INVENTED if given else _RIGHTLY_NONE
    if not given:
        return _MISSED
    return _EXACT if exact else _PARTLY if f1 else _WRONG


def _question(tokens: Encoded) -> Encoded:
    """Return the part of an input that is the question."""
    is_question = tokens.type_ids == 0
    return Encoded(tokens.ids[is_question], tokens.type_ids[is_question])


def _around(context: str, answer: str) -> str:
    """Return the text around the first place of *answer*, cut at blanks."""
    at = max(0, context.find(answer))
    start, end = max(0, at - _AROUND), at + len(answer) + _AROUND
    before = context[start:at].partition(" ")[2] if start else context[:at]
    after = context[at + len(answer) : end]
    if end < len(context):
        after = after.rpartition(" ")[0]
    return f"{'... ' if start else ''}{before}{answer}{after}{' ...' if end < len(context) else ''}"
