"""Tasks on whole texts: what rows mean, and what answers are worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.models import a_vocab_folder
from tokenizers.processors import TemplateProcessing

from bertjob_api.parse import parse
from bertjob_api.spec import Data
from bertjob_tasks import errors, metrics, tokenizer_files
from bertjob_tasks.encoding import Encoded, Encoder
from bertjob_tasks.registry import task_of
from bertjob_tasks.task import Features, Task, answers_of, metric_of


def settings(**fields: object) -> Data:
    """Return spec.data with the given fields."""
    return parse(Data, {"train": "storage://t", "validation": "storage://v", **fields}, path="spec.data")


def written(folder: Path, text: str, name: str = "train.jsonl") -> Path:
    """Return a data file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def encoder_of(folder: Path, length: int = 16) -> Encoder:
    """Return a small encoder."""
    return Encoder.from_folder(a_vocab_folder(folder), max_length=length)


PAIR = '{"text": "the cat", "text_pair": "a dog", "label": "up"}\n'


def test_pair_is_encoded_as_two_segments(tmp_path: Path) -> None:
    """Both texts are read, and the second one's tokens have type 1, as BERT was trained."""
    task = task_of("sentence-pair", None)
    rows = PAIR + '{"text": "the dog ran", "text_pair": "sat", "label": "down"}\n'
    examples = list(task.read(written(tmp_path, rows), settings(), labels=None))

    features = task.encode(examples, task.discover(examples), encoder=encoder_of(tmp_path))

    assert [task.asked(example) for example in examples] == [("the cat", "a dog"), ("the dog ran", "sat")]
    assert features.inputs[1].ids.tolist() == [2, 5, 8, 9, 3, 7, 3]
    assert features.inputs[1].type_ids.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert features.targets.tolist() == [1, 0]


def test_text_that_spells_a_separator_does_not_end_its_segment(tmp_path: Path) -> None:
    """The first [SEP] is the tokenizer's own, since the served model finds the second text by it."""
    ((found,),) = task_of("sentence-pair", None).encode_asked([("cat [SEP] dog", "ran")], encoder=encoder_of(tmp_path))

    assert found.ids.tolist().count(3) == 2
    assert found.type_ids.tolist() == [0] * (len(found.ids) - 2) + [1, 1]


def test_tokenizer_that_does_not_mark_the_second_text_is_refused(tmp_path: Path) -> None:
    """The served model finds the second text by [SEP], so training must see the same token types."""
    tokenizer = tokenizer_files.load(a_vocab_folder(tmp_path))
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )

    with pytest.raises(errors.ModelFolderError, match="token type 1"):
        Encoder(tokenizer, max_length=16).encode([("cat", "dog")])


def test_longer_text_of_a_pair_is_cut_first(tmp_path: Path) -> None:
    """A pair that is too long keeps tokens of both texts."""
    encoder = encoder_of(tmp_path, 8)

    ((found,),) = task_of("sentence-pair", None).encode_asked([("cat " * 20, "dog ran")], encoder=encoder)

    assert len(found.ids) == 8
    assert found.type_ids.tolist().count(1) == 3


@pytest.mark.parametrize(
    ("row", "problem", "words"),
    [
        ('{"text": "x", "label": "up"}', None, ("text_pair", "columns.textPair")),
        ('{"text": "x", "text_pair": " ", "label": "up"}', None, ("text_pair", "empty")),
        ('{"text": "x", "text_pair": "y", "label": "much"}', "regression", ("finite number", "3.5")),
        ('{"text": "x", "text_pair": "y", "label": NaN}', "regression", ("finite number",)),
        ('{"text": "x", "text_pair": "y", "label": true}', "regression", ("finite number",)),
        ('{"text": "x", "text_pair": "y", "label": 5}', "multi-label", ("list of labels", "a|b")),
        ('{"text": "x", "text_pair": "y", "label": ["up", null]}', "multi-label", ("nothing", "label")),
        (
            '{"text": "x", "text_pair": "y", "label": ["up", "left"]}',
            "multi-label",
            ("left", "up", "spec.model.labels"),
        ),
    ],
)
def test_bad_rows_are_refused_with_their_place(
    row: str, problem: str | None, words: Sequence[str], tmp_path: Path
) -> None:
    """Each mistake names file, line, column and the next step."""
    task = task_of("sentence-pair", problem)

    with pytest.raises(errors.RowError, match=r"train\.jsonl:1: ") as caught:
        list(task.read(written(tmp_path, row + "\n"), settings(), labels=("up",)))

    assert [word for word in words if word not in str(caught.value)] == []


def test_label_sets_come_from_lists_and_from_joined_texts(tmp_path: Path) -> None:
    """JSON has lists, CSV a separator, and a text without labels is an example too."""
    task, csv = task_of("sequence-classification", "multi-label"), 'text,label\nx,b|a\n"y",\n'
    lines = '{"text": "x", "label": ["b", "a", "b"]}\n{"text": "y", "label": []}\n'

    found = [
        [example.label for example in task.read(written(tmp_path, text, name), settings(format=name[2:]), labels=None)]
        for name, text in (("a.jsonl", lines), ("a.csv", csv))
    ]

    assert found == [[("a", "b"), ()]] * 2


def test_same_number_everywhere_is_refused(tmp_path: Path) -> None:
    """There is nothing to learn from one number."""
    task = task_of("sequence-classification", "regression")

    with pytest.raises(errors.DataError, match="same number in every row"):
        task.discover(task.read(written(tmp_path, '{"text": "x", "label": 1}\n' * 3), settings(), labels=None))


def test_unknown_task_is_refused_with_the_known_ones() -> None:
    """What this version cannot train is named beside what it can."""
    with pytest.raises(errors.UnsupportedError, match="got translation, this version trains sequence-classification"):
        task_of("translation", None)


RNG = np.random.default_rng(4)
CASES = [
    ("sequence-classification", None, RNG.integers(0, 3, 40), RNG.normal(size=(40, 3))),
    (
        "sequence-classification",
        "multi-label",
        RNG.integers(0, 2, (40, 3)).astype(np.float32),
        RNG.normal(size=(40, 3)),
    ),
    ("sentence-pair", "regression", RNG.normal(size=(40, 1)).astype(np.float32) + 7, RNG.normal(size=(40, 1)) + 3),
]


@pytest.mark.parametrize(
    ("name", "problem", "targets", "outputs"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_statistics_give_the_deciding_metric(name: str, problem: str | None, targets: Any, outputs: Any) -> None:
    """Their means combine to the first of the scores, which is what the gate resamples."""
    task: Task[Any] = task_of(name, problem)
    features = Features(tuple([None] * 40), targets)  # type: ignore[arg-type]  # metrics do not look at the inputs
    answers = answers_of(task, features, outputs)

    scores = task.scores(features, answers)

    assert next(iter(scores)) == task.metric
    assert metric_of(task, features, answers) == pytest.approx(scores[task.metric], abs=1e-12)
    assert 0 < abs(scores[task.metric]) < 1


def test_correlations_are_the_known_ones() -> None:
    """Pearson's is numpy's, and Spearman's is that of ranks, ties sharing theirs."""
    task, (_, _, y, x) = task_of("sentence-pair", "regression"), CASES[2]
    features = Features(tuple([None] * 40), y)  # type: ignore[arg-type]  # metrics do not look at the inputs
    scores = task.scores(features, answers_of(task, features, x))

    assert scores["pearson"] == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1])
    assert metrics.spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])) == pytest.approx(1)
    assert metrics.spearman(np.array([1.0, 1.0, 2.0, 3.0]), np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(-0.9486833)
    assert metrics.spearman(np.ones(3), np.arange(3.0)) == 0


def test_label_sets_are_counted_by_hand() -> None:
    """Two hits of three given and four expected labels: F1 is 4/7; one of three texts is right as a whole."""
    task = task_of("sequence-classification", "multi-label")
    targets = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=np.float32)
    outputs = np.array([[2.0, -1.0, -1.0], [-1.0, 3.0, -2.0], [-1.0, -1.0, 1.0]])

    features = Features(tuple([None] * 3), targets)  # type: ignore[arg-type]  # metrics do not look at the inputs
    scores = task.scores(features, answers_of(task, features, outputs))

    assert scores == {"microF1": pytest.approx(4 / 7), "exactMatch": 0.0}


@pytest.mark.parametrize(
    ("problem", "outputs", "answer", "columns"),
    [
        (
            None,
            [0.0, np.log(3.0)],
            {"label": "b", "score": 0.75, "scores": {"a": 0.25, "b": 0.75}},
            {"label": ("BYTES", [1], ["b"]), "score": ("FP32", [1], [0.75]), "scores": ("FP32", [1, 2], [0.25, 0.75])},
        ),
        (
            "multi-label",
            [0.0, -np.log(3.0)],
            {"labels": ["a"], "scores": {"a": 0.5, "b": 0.25}},
            {"labels": ("BYTES", [1], ["a"]), "scores": ("FP32", [1, 2], [0.5, 0.25])},
        ),
        ("regression", [1.5], {"value": 1.5}, {"value": ("FP32", [1], [1.5])}),
    ],
)
def test_answers_for_people_and_as_columns(problem: str | None, outputs: Any, answer: Any, columns: Any) -> None:
    """Both protocols say the same, and every column that always comes is announced."""
    task, labels = task_of("sequence-classification", problem), ("a", "b")

    tokens = Encoded(np.array([2, 7, 3]), np.zeros(3))
    got = task.decode([np.array(outputs)], (tokens,), "x", labels=labels, with_scores=True)

    assert {key: pytest.approx(value) for key, value in answer.items()} == got
    found = task.columns([got], labels=labels)
    assert {key: (kind, shape) for key, (kind, shape, _) in found.items()} == {
        key: (kind, shape) for key, (kind, shape, _) in columns.items()
    }
    assert found.keys() - {"scores"} == task.outputs.keys()


@pytest.mark.parametrize(
    ("problem", "recorded", "near", "far"),
    [
        (None, [2.0, -1.0], [2.1, -1.1], [0.0, 1.0]),
        ("multi-label", [3.0, -3.0], [3.2, -3.1], [0.5, -3.0]),
        ("regression", [2.0], [2.05], [2.2]),
    ],
)
def test_golden_answers_are_compared_by_meaning(problem: str | None, recorded: Any, near: Any, far: Any) -> None:
    """Rounding is let pass, another answer and no number are not."""
    task = task_of("sequence-classification", problem)

    same = [
        task.same(np.array(recorded), np.array(got), tolerance=0.05) for got in (near, far, [np.nan] * len(recorded))
    ]

    assert same == [True, False, False]
