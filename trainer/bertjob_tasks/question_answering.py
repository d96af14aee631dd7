"""
The answer to a question as a span of the text that is given with it; on request also that the text has none.

The head says of each token how well the answer begins and ends there. A long text comes in several windows, and the best span of
all of them is the answer. That there is none is said by [CLS]: it is taken where the window that says so least still prefers it.

Source: Devlin et al. 2018, 4.2 and 4.3, and google-research/bert, run_squad.py. Shapes: N questions, L tokens of one input.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from bertjob_api.spec import Data
from bertjob_tasks import classification, columns, readers, rows, squad, windows
from bertjob_tasks.encoding import Encoded, Encoder, Ids
from bertjob_tasks.errors import LabelError, Place
from bertjob_tasks.questions import Answered, answers_of_row
from bertjob_tasks.task import Answer, Array, Asked, Column, Features, Task, Windows, is_finite_like

UNANSWERABLE: Final = "unanswerable"
"""``spec.model.problem`` of data with questions that their text does not answer."""
LONGEST: Final = 30
"""Most tokens of an answer. Source: run_squad.py, ``max_answer_length``."""
QUESTION: Final = "question"
CONTEXT: Final = "context"
ANSWERS: Final = "answers"


class Best(NamedTuple):
    """The best span of one question."""

    window: int
    """Number of the input that has it; -1: there is no answer."""
    first: int
    """Its first token in that input."""
    last: int


@dataclass(frozen=True, slots=True)
class Gold:
    """What held-out answers are compared with."""

    contexts: tuple[str, ...]
    """(N,)."""
    answers: tuple[tuple[str, ...], ...]
    """(N,) the right ones of each; none: there is no answer."""


class QuestionAnswering(Task[Answered]):
    """Extractive question answering; judged by F1. Statistics of a question: its exact match and F1, 0 to 1."""

    name = "question-answering"
    reads = "spans"
    loss = "spans"
    metric = "f1"
    has_labels = False
    architecture = "BertForQuestionAnswering"
    inputs = (QUESTION, CONTEXT)
    outputs: ClassVar = {"text": "BYTES", "start": "INT64", "end": "INT64", "score": "FP32"}

    def __init__(self, problem: str | None = None) -> None:
        """Take the problem: ``UNANSWERABLE`` lets [CLS] win over every span; None: every question is answered."""
        self.problem = problem

    def read(self, path: Path, data: Data, *, labels: Sequence[str] | None) -> Iterator[Answered]:
        """Yield the questions of SQuAD files, or of JSON lines with the same columns."""
        del labels
        names = data.columns

        def parse(row: Mapping[str, Any], place: Place) -> Answered:
            question = columns.text(row, place, names.question or QUESTION, setting=QUESTION)
            context = columns.text(row, place, names.context or CONTEXT, setting=CONTEXT)
            found = answers_of_row(row, place, column=names.answers or ANSWERS, context=context)
            if not found and self.problem != UNANSWERABLE:
                hint = f"set spec.model.problem: {UNANSWERABLE} for data with questions that have none"
                raise LabelError(place, f"has no answer, expected at least one; {hint}")
            return Answered(question, context, found, place)

        return readers.read(path, data, parse, formats=rows.QUESTIONS)

    def discover(self, examples: Iterable[Answered]) -> tuple[str, ...]:
        """Return no label, after a look at every row."""
        for _ in examples:
            pass
        return ()

    def width(self, labels: Sequence[str]) -> int:
        """Return 2: first and last token."""
        del labels
        return 2

    def encode(self, examples: Sequence[Answered], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return the windows of each question, and the answer's two tokens in each, [CLS] where it is not in it."""
        del labels
        items = self.encode_asked([self.asked(example) for example in examples], encoder=encoder)
        pairs = [(tokens, example) for item, example in zip(items, examples, strict=True) for tokens in item]
        targets = np.array([_target(tokens, example) for tokens, example in pairs], dtype=np.int64).reshape(-1, 2)
        gold = Gold(
            tuple(example.context for example in examples),
            tuple(tuple(answer.text for answer in example.answers) for example in examples),
        )
        return Features(tuple(tokens for tokens, _ in pairs), targets, gold, tuple(map(len, items)))

    def asked(self, example: Answered) -> Asked:
        """Return question and text."""
        return (example.question, example.context)

    def encode_asked(self, items: Sequence[Asked], *, encoder: Encoder) -> list[Windows]:
        """Return the windows of each question and its text."""
        questions = encoder.pieces([item[0] for item in items])
        texts = encoder.pieces([item[1] for item in items])
        return [windows.of_question(*pair, encoder=encoder) for pair in zip(questions, texts, strict=True)]

    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[float, ...]:
        """Return the three numbers of ``Best``."""
        return self.best(outputs, tokens)

    def best(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> Best:
        """Return the best span of a question's windows, whose *outputs* are (L, 2)."""
        found = [_best(output, windows.first_of_text(item)) for output, item in zip(outputs, tokens, strict=True)]
        window = int(np.argmax([score for score, _, _ in found]))
        score, first, last = found[window]
        nothing = min(float(output[0].sum()) for output in outputs)
        if not np.isfinite(score) or (self.problem == UNANSWERABLE and nothing > score):
            return Best(-1, 0, 0)
        return Best(window, first, last)

    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """Return exact match and F1 of each question, (N, 2)."""
        gold: Gold = features.gold
        pairs = list(zip(texts_of(features, answers), gold.answers, strict=True))
        return np.array([(squad.exact_match(text, right), squad.f1(text, right)) for text, right in pairs])

    def combine(self, means: Array) -> Array:
        """Return the F1."""
        found: Array = means[..., 1]
        return found

    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return ``f1`` and ``exactMatch``, and the F1 of questions with and without an answer where there are both."""
        found, gold = self.statistics(features, answers), features.gold
        has_answer = np.array([bool(right) for right in gold.answers])
        exact, f1 = found.mean(axis=0).tolist()
        scores: dict[str, float] = {"f1": f1, "exactMatch": exact}
        if has_answer.any() and not has_answer.all():
            scores |= {"answeredF1": float(found[has_answer, 1].mean())}
            scores |= {"unanswerableF1": float(found[~has_answer, 1].mean())}
        return scores

    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """Return ``text`` with its characters ``start`` to ``end``, empty for no answer, and its probability in its window."""
        del labels, with_scores
        window, first, last = self.best(outputs, tokens)
        at = window if window >= 0 else int(np.argmin([output[0].sum() for output in outputs]))
        chances = _chances(outputs[at], windows.first_of_text(tokens[at]))
        start, end = _characters(tokens[window].places, first, last) if window >= 0 else (0, 0)
        score = float(chances[first, 0] * chances[last, 1])
        return {"text": asked[1][start:end], "start": start, "end": end, "score": score}

    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> dict[str, Column]:
        """Return ``text``, ``start``, ``end`` and ``score``."""
        del labels
        return {name: (kind, [len(answers)], [item[name] for item in answers]) for name, kind in self.outputs.items()}

    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether each token's probabilities to be first and last are within *tolerance*."""
        if not is_finite_like(recorded, got):
            return False
        return bool(np.abs(classification.softmax(got.T) - classification.softmax(recorded.T)).max() <= tolerance)


def _target(tokens: Encoded, example: Answered) -> tuple[int, int]:
    """Return the two tokens of the first answer in one window; (0, 0): it is not, or not as a whole, in it."""
    if not example.answers or tokens.places is None:
        return 0, 0
    answer, begin = example.answers[0], windows.first_of_text(tokens)
    places = tokens.places[begin:-1]
    if not len(places) or answer.start < places[0, 0] or answer.end > places[-1, 1]:
        return 0, 0
    first, last = int((places[:, 1] > answer.start).argmax()), int((places[:, 0] < answer.end).sum()) - 1
    return (begin + first, begin + last) if first <= last else (0, 0)


def _best(output: Array, begin: int) -> tuple[float, int, int]:
    """Return the best score of a span of the text in one window, its first and its last token; -inf: there is no text."""
    starts, ends = output[begin:-1, 0].astype(np.float64), output[begin:-1, 1].astype(np.float64)
    if not len(starts):
        return float("-inf"), 0, 0
    padded = np.concatenate([ends, np.full(LONGEST - 1, -np.inf)])
    sums = starts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, LONGEST)
    first, length = divmod(int(sums.argmax()), LONGEST)
    return float(sums[first, length]), begin + first, begin + first + length


def _chances(output: Array, begin: int) -> Array:
    """Return each token's probabilities to be first and last, (L, 2), among those of the text and [CLS]."""
    allowed = np.full(output.shape, -np.inf)
    allowed[begin:-1], allowed[0] = output[begin:-1], output[0]
    return classification.softmax(allowed.T).T


def _characters(places: Ids | None, first: int, last: int) -> tuple[int, int]:
    assert places is not None, "questions are encoded with places"
    return int(places[first, 0]), int(places[last, 1])


def texts_of(features: Features, answers: Sequence[float]) -> Iterator[str]:
    """Yield the predicted answer to each question, "" for none; *answers* as in ``Task.statistics``."""
    gold: Gold = features.gold
    found = np.array(answers, dtype=np.int64).reshape(-1, 3).tolist()
    for part, context, (window, first, last) in zip(features.slices, gold.contexts, found, strict=True):
        if window < 0:
            yield ""
            continue
        start, end = _characters(features.inputs[part][window].places, first, last)
        yield context[start:end]
