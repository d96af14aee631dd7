"""Questions: files, windows over long texts, the best span of them, and how right it is."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models import a_vocab_folder

from bertjob_api.parse import parse
from bertjob_api.spec import Data
from bertjob_tasks import errors, squad, windows
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.question_answering import QuestionAnswering
from bertjob_tasks.questions import Answered, Span
from bertjob_tasks.registry import task_of
from bertjob_tasks.task import answers_of, metric_of

TASK, OPEN = QuestionAnswering(), QuestionAnswering("unanswerable")
CONTEXT = "the cat sat. very good dogs ran."
ROW = {"question": "cat?", "context": CONTEXT, "answers": [{"text": "dogs", "answer_start": 23}]}
PLACE = errors.Place("a", 1)


def as_squad(*rows: Any) -> str:
    """Return a SQuAD file with a paragraph for each row."""
    paragraphs = [
        {"context": row["context"], "qas": [{key: row[key] for key in row if key != "context"}]} for row in rows
    ]
    return json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})


def read(
    folder: Path, text: str, format_: str = "squad", task: QuestionAnswering = TASK, **data: Any
) -> list[Answered]:
    """Return the questions of a file with this text."""
    path = folder / ("train.json" if format_ == "squad" else "train.jsonl")
    path.write_bytes(text.encode())
    spec = {"train": "storage://t", "validation": "storage://v", "format": format_, **data}
    return list(task.read(path, parse(Data, spec, path="spec.data"), labels=None))


def encoder_of(folder: Path, length: int = 12, stride: int | None = 2) -> Encoder:
    """Return a small encoder."""
    return Encoder.from_folder(a_vocab_folder(folder), max_length=length, stride=stride)


def test_formats_read_alike(tmp_path: Path) -> None:
    """SQuAD's nesting, JSON lines of it, and the hub's lists within them give the same questions; columns can be mapped."""
    lists = {**ROW, "answers": {"text": ["dogs"], "answer_start": [23]}}
    mapped = {"q": "cat?", "context": CONTEXT, "answers": ROW["answers"]}

    found = [
        *read(tmp_path, as_squad(ROW)),
        *read(tmp_path, f"{json.dumps(ROW)}\n{json.dumps(lists)}\n", "jsonl"),
        *read(tmp_path, json.dumps(mapped), "jsonl", columns={"question": "q"}),
    ]

    assert {(item.question, item.context, item.answers) for item in found} == {
        ("cat?", CONTEXT, (Span("dogs", 23),)),
    }
    assert [str(item.place) for item in found] == [
        "train.json:data[0].paragraphs[0].qas[0]", "train.jsonl:1", "train.jsonl:2", "train.jsonl:1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (as_squad({**ROW, "answers": [{"text": "dogs", "answer_start": 30}]}), ("qas[0]", "outside", "30 to 34")),
        (as_squad(ROW, {**ROW, "answers": [{"text": "dogs", "answer_start": 22}]}), ("paragraphs[1]", "answers[0]")),
        (as_squad({**ROW, "answers": [{"text": "dogs", "answer_start": -9}]}), ("outside the text",)),
        (as_squad({**ROW, "answers": [{"text": "dogs"}]}), ("no answer", "answer_start")),
        (as_squad({**ROW, "answers": [{"text": " ", "answer_start": 3}]}), ("empty",)),
        (as_squad({**ROW, "answers": []}), ("spec.model.problem: unanswerable",)),
        (as_squad({**ROW, "answers": "dogs"}), ("holds str", "list of answers")),
        (as_squad({**ROW, "answers": {"text": ["a"], "answer_start": []}}), ("holds dict",)),
        (as_squad({**ROW, "question": " "}), ("'question' is empty",)),
        (json.dumps({"data": [{"paragraphs": [{"context": CONTEXT}]}]}), ("paragraphs[0]", "no list 'qas'")),
        (json.dumps({"data": [{"paragraphs": [{"qas": [ROW | {"context": 3}]}]}]}), ("holds int",)),
        (json.dumps({"data": [3]}), ("train.json:data[0]", "JSON int")),
        ('{"data": [\n', ("train.json:2", "is not JSON")),
        ("[" * 100_000, ("nested too deeply",)),
    ],
    ids=range(14),
)
def test_bad_row_says_where_and_what(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """One line with the question's place in the file, and never the texts themselves."""
    with pytest.raises(errors.RowError) as caught:
        read(tmp_path, text)

    assert all(word in str(caught.value) for word in words), caught.value
    assert "sat" not in str(caught.value)


def test_bad_rows_are_tolerated_when_asked(tmp_path: Path) -> None:
    """The others are read."""
    text = as_squad({**ROW, "answers": [{"text": "dogs", "answer_start": 30}]}, ROW)

    assert len(read(tmp_path, text, maxBadRows=1)) == 1


@given(st.integers(0, 400), st.integers(1, 60), st.integers(0, 80))
def test_windows_cover_every_token_and_overlap(count: int, room: int, stride: int) -> None:
    """They begin at 0, end at the end, are no longer than allowed, and neighbours share what was asked, half at most."""
    found = windows.cut(count, room=room, stride=stride)

    assert found[0][0] == 0
    assert found[-1][1] == count
    assert all(stop - start <= room for start, stop in found)
    shared = min(stride, room // 2)
    assert all(after[0] == before[1] - shared and after[1] > before[1] for before, after in itertools.pairwise(found))


def test_answer_is_marked_in_the_windows_that_have_it_whole(tmp_path: Path) -> None:
    """Each window has question and specials; first and last piece of the answer are its targets, else [CLS]."""
    (example,) = read(tmp_path, as_squad(ROW))

    features = TASK.encode([example], (), encoder=encoder_of(tmp_path, 10))

    # cat ? | the cat sat . very good dog ##s ran .: 5 of 10 tokens a window, 2 shared
    assert features.counts == (3,)
    assert [item.ids.tolist()[:4] for item in features.inputs] == [[2, 6, 1, 3]] * 3
    assert [item.ids.tolist()[4:-1] for item in features.inputs] == [
        [5, 6, 7, 17, 12],
        [17, 12, 10, 8, 15],
        [8, 15, 9, 17],
    ]
    assert all(len(item.ids) <= 10 and item.type_ids.tolist().count(0) == 4 for item in features.inputs)
    assert features.targets.tolist() == [[0, 0], [7, 8], [4, 5]]
    for item, (first, last) in list(zip(features.inputs, features.targets.tolist(), strict=True))[1:]:
        assert item.places is not None
        assert CONTEXT[item.places[first, 0] : item.places[last, 1]] == "dogs"


def test_long_question_leaves_room_for_the_text(tmp_path: Path) -> None:
    """It is cut to half of an input, and a text of no tokens still is an input."""
    (item, nothing) = TASK.encode_asked([("cat " * 90, CONTEXT), ("cat", "\u200b")], encoder=encoder_of(tmp_path))

    assert {len(tokens.ids) for tokens in item} <= set(range(8, 13))
    assert item[0].type_ids.tolist().index(1) == 6
    assert [tokens.ids.tolist() for tokens in nothing] == [[2, 6, 3, 3]]
    answer = TASK.decode([np.zeros((4, 2))], nothing, ("cat", "\u200b"), labels=(), with_scores=False)
    assert (answer["text"], answer["start"], answer["end"]) == ("", 0, 0)


def outputs_of(features: Any, *, cls: float = 0.0) -> list[Any]:
    """Return logits that are sure of the targets, *cls* at [CLS] for first and last."""
    found = []
    for item, (first, last) in zip(features.inputs, features.targets.tolist(), strict=True):
        logits = np.full((len(item.ids), 2), -5.0)
        logits[1] = 99  # of the question, which is never an answer
        logits[0] = cls
        if first:
            if first > 4 and last < len(logits) - 2:
                logits[-2, 0], logits[4, 1] = 9, 9  # together this were a span that ends before it begins
            logits[first, 0], logits[last, 1] = 4, 4
        found.append(logits)
    return found


def test_best_span_of_all_windows_is_the_answer(tmp_path: Path) -> None:
    """It is cut out of the text as it was sent, has a probability, and both protocols say the same."""
    features = TASK.encode(
        [Answered("cat?", CONTEXT, (Span("dogs ran", 23),), PLACE)], (), encoder=encoder_of(tmp_path, 10)
    )
    outputs = outputs_of(features)

    answer = TASK.decode(outputs, features.inputs, ("cat?", CONTEXT), labels=(), with_scores=False)

    assert (answer["text"], answer["start"], answer["end"]) == ("dogs ran", 23, 31)
    assert 0 < answer["score"] < 1
    columns = TASK.columns([answer], labels=())
    assert columns.keys() == TASK.outputs.keys()
    assert columns["end"] == ("INT64", [1], [31])


@pytest.mark.parametrize(("task", "cls", "text"), [(TASK, 9.0, "dogs"), (OPEN, 9.0, ""), (OPEN, 3.0, "dogs")])
def test_no_answer_is_said_only_where_the_data_have_such_questions(
    task: QuestionAnswering, cls: float, text: str, tmp_path: Path
) -> None:
    """[CLS] must beat the best span in the window where it is weakest."""
    features = task.encode([Answered("cat?", CONTEXT, (Span("dogs", 23),), PLACE)], (), encoder=encoder_of(tmp_path))

    answer = task.decode(
        outputs_of(features, cls=cls), features.inputs, ("cat?", CONTEXT), labels=(), with_scores=False
    )

    assert answer["text"] == text
    assert 0 < answer["score"] <= 1


def test_questions_are_judged_not_windows(tmp_path: Path) -> None:
    """There is a row of statistics for each question; their means give the metric, and the scores name it first."""
    examples = [
        Answered("cat?", CONTEXT, (Span("dogs", 23), Span("good dogs", 18)), PLACE),
        Answered("cat?", CONTEXT, (Span("very good", 13),), PLACE),
        Answered("cat?", CONTEXT, (), PLACE),
        Answered("cat?", CONTEXT, (), PLACE),
    ]
    features = OPEN.encode(examples, (), encoder=encoder_of(tmp_path, 10))
    outputs = outputs_of(features, cls=1.0)
    outputs[features.slices[3].start][5] = 9  # says "cat" where there is no answer
    answers = answers_of(OPEN, features, outputs)

    found = OPEN.statistics(features, answers)

    assert len(features.inputs) > features.num_items == len(found) == 4
    assert found.tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]
    scores = OPEN.scores(features, answers)
    assert scores == {"f1": 0.75, "exactMatch": 0.75, "answeredF1": 1.0, "unanswerableF1": 0.5}
    assert metric_of(OPEN, features, answers) == 0.75
    assert next(iter(scores)) == OPEN.metric


@pytest.mark.parametrize(
    ("predicted", "answers", "exact", "f1"),
    [
        ("The Norman's", ["normans"], 1, 1),
        ("in the 10th century", ["10th century", "10th and 11th centuries"], 0, 0.8),
        ("a big, red dog", ["the red dog."], 0, 0.8),
        ("cat", ["dog"], 0, 0),
        ("", [], 1, 1),
        ("cat", [], 0, 0),
        ("", ["dog"], 0, 0),
        ("the", ["an"], 1, 1),
        ("dog dog", ["dog"], 0, 2 / 3),
    ],
)
def test_metrics_are_those_of_the_official_script(predicted: str, answers: list[str], exact: float, f1: float) -> None:
    """Worked out by hand from the rules of evaluate-v2.0.py."""
    assert squad.exact_match(predicted, answers) == exact
    assert squad.f1(predicted, answers) == pytest.approx(f1)


def test_golden_answers_are_compared_by_meaning() -> None:
    """Rounding is let pass, another answer and no number are not."""
    recorded = np.array([[4.0, -4.0], [-4.0, 4.0], [-4.0, -4.0]])

    assert TASK.same(recorded, recorded + 0.01, tolerance=0.05)
    assert not TASK.same(recorded, recorded[::-1], tolerance=0.05)
    assert not TASK.same(recorded, recorded * np.nan, tolerance=0.05)


def test_registry_knows_the_problem() -> None:
    """The task of a manifest is the one that was trained."""
    assert [task_of("question-answering", problem).problem for problem in (None, "unanswerable")] == [
        None,
        "unanswerable",
    ]
    with pytest.raises(errors.UnsupportedError, match="unset, unanswerable for question-answering"):
        task_of("question-answering", "regression")
