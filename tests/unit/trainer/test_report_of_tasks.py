"""What the report finds in answers that are no classes: spans, vectors, hidden words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.jobs import a_job
from support.models import a_model_folder

from bertjob_api.job import parse_job
from bertjob_api.spec import Model
from bertjob_tasks import masked_lm, question_answering, registry
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.task import IGNORED, Features
from bertjob_trainer.report import analysis, answers, writing
from bertjob_trainer.report.findings import NOTHING, RANKS_OFF, Analysis, Mistake, Mixed

CONTEXTS = ("red green blue", "one two", "up down left", "east west")
RIGHT = (("green",), ("two",), ("up down",), ())
JOB = parse_job(a_job())
SILENT = parse_job(a_job(privacy={"storeTexts": False}))


def task_of(name: str, problem: str | None = None) -> Any:
    """Return a task."""
    return registry.of_spec(Model(source="preset://bert-tiny", task=name, problem=problem))  # type: ignore[arg-type]


def a_question(context: str) -> Encoded:
    """Return ``[CLS] question [SEP] context [SEP]``, a token for each word."""
    words = context.split(" ")
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    places = [(0, 0)] * 3 + [(at, at + len(word)) for at, word in zip(starts, words, strict=True)] + [(0, 0)]
    types = [0, 0, 0] + [1] * (len(words) + 1)
    ids = np.arange(len(types), dtype=np.int32)
    return Encoded(ids, np.array(types, dtype=np.int32), places=np.array(places, dtype=np.int32))


def told(item: Encoded, first: int, last: int) -> Any:
    """Return outputs that prefer the span of the context's words *first* to *last*; (-3, -3) is [CLS]: no answer."""
    found = np.zeros((len(item.ids), 2))
    found[3 + first, 0] = found[3 + last, 1] = 9.0
    return found


def of_questions() -> Analysis:
    """Return the analysis of four answers: right, wrong, half of it, and one though there is none."""
    inputs = tuple(map(a_question, CONTEXTS))
    gold = question_answering.Gold(CONTEXTS, RIGHT)
    features = Features(inputs, np.zeros((4, 2)), gold, (1,) * 4)
    spans = ((1, 1), (0, 0), (0, 0), (0, 0))
    outputs = [told(item, *span) for item, span in zip(inputs, spans, strict=True)]
    return analysis.analyse(task_of("question-answering", "unanswerable"), features, outputs, labels=())


def test_worst_answers_of_questions() -> None:
    """The least F1 comes first, with the text around it; each answer is counted by how it came out."""
    found = of_questions()

    assert [(each.index, each.expected, each.answered, each.weight) for each in found.mistakes] == [
        (1, "two", "one", "0.00"),
        (3, NOTHING, "east", "0.00"),
        (2, "up down", "up", "0.67"),
    ]
    assert [each.around for each in found.mistakes] == ["one two", "east west", "up down left"]
    assert [item.ids.tolist() for each in found.mistakes for item in each.read] == [[0, 1, 2]] * 3
    assert found.counts == {
        "exactly right": 1,
        "partly right": 1,
        "wrong": 1,
        "answered, though there is none": 1,
    }


def test_snippet_is_cut_at_words() -> None:
    """Of a long text about as much stands before an answer as after it, whole words only."""
    inputs = (a_question("x"),)
    context = f"{'before ' * 50}answer{' after' * 50}"
    features = Features(inputs, np.zeros((1, 2)), question_answering.Gold((context,), (("answer",),)), (1,))

    (mistake,) = analysis.analyse(task_of("question-answering"), features, [told(inputs[0], 0, 0)], labels=()).mistakes

    assert mistake.around.startswith("... before before")
    assert mistake.around.endswith("after after ...")
    assert "answer" in mistake.around
    assert len(mistake.around) < 220


def test_worst_pairs_are_farthest_off_in_rank() -> None:
    """Spearman counts ranks: a pair is bad when its place among the others is wrong, whatever its cosine."""
    angles, gold = (0.1, 1.2, 0.3, 1.5), np.array([0.9, 1.0, 0.5, 0.0])
    inputs, outputs = [], []
    for angle in angles:
        for side in (0, 1):
            inputs.append(Encoded(np.arange(4, dtype=np.int32), np.full(4, side, dtype=np.int32)))
            outputs.append(np.array([np.cos(angle * side), np.sin(angle * side)]))
    features = Features(tuple(inputs), np.zeros(8), gold, (2,) * 4)

    found = analysis.analyse(task_of("embedding"), features, outputs, labels=())

    assert [(each.index, each.weight) for each in found.mistakes] == [(1, "-67%"), (0, "+33%"), (2, "+33%")]
    assert [len(each.read) for each in found.mistakes] == [2, 2, 2]
    assert np.allclose([point[0] for point in found.points], gold)
    assert np.allclose([point[1] for point in found.points], np.cos(angles))


def test_hidden_words_against_chance() -> None:
    """Chance is the commonest word, and the commonest order; the most frequent confusion comes first."""
    targets = np.array([IGNORED, 7, 7, IGNORED, 8, 7, 9])
    words = np.array([0, 7, 8, 0, 7, 8, 9])
    gold = masked_lm.Gold((), np.array([0, 1, 1, 1]))
    features = Features((), targets, gold)

    found = analysis.analyse(task_of("pretraining"), features, [words, np.zeros(4)], labels=())

    assert found.chances == {"maskedAccuracy": 0.6, "nextSentenceAccuracy": 0.75}
    assert [(each.expected, each.answered, each.times) for each in found.mixed] == [(7, 8, 2), (8, 7, 1)]
    alone = analysis.analyse(
        task_of("masked-lm"), replace(features, gold=masked_lm.Gold(())), [words, np.zeros(0)], labels=()
    )
    assert list(alone.chances) == ["maskedAccuracy"]


@pytest.mark.parametrize("job", [JOB, SILENT], ids=["texts", "no texts"])
def test_texts_are_shown_only_where_they_may_be_stored(tmp_path: Path, job: Any) -> None:
    """Questions, answers, the texts around them and pieces of words are there, or none of them is."""
    a_model_folder(tmp_path)
    found = of_questions()
    read = writing.texts(job, found, (), tokenizer=tmp_path)
    mixed = Analysis(mixed=(Mixed(expected=5, answered=6, times=3),))
    names = writing.pieces(job, mixed, tokenizer=tmp_path)

    page = answers.mistakes(found, read) + answers.mixed(mixed, names)

    assert ("up down left" in page) == (job is JOB)
    assert ("<td>two</td>" in page) == (job is JOB)
    assert ("<td>an answer</td>" in page) == (job is SILENT)
    assert NOTHING in page
    assert page.count("privacy.storeTexts is false") == (0 if job is JOB else 2)


def test_pairs_are_called_pairs() -> None:
    """The part on vectors speaks of pairs and similarity."""
    found = Analysis(
        points=((0.0, 0.5), (1.0, 0.5)),
        weighed=RANKS_OFF,
        mistakes=(Mistake(index=0, expected="0.00", answered="0.50", weight="+50%"),),
    )

    assert "similarity: expected (across)" in answers.answers(found, {})
    assert "Worst pairs" in answers.mistakes(found, {0: "a | b"})
