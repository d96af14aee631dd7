"""Vectors of texts: pairs with and without scores, long texts in chunks, and how well cosines follow the scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.models import a_vocab_folder

from bertjob_api.parse import parse
from bertjob_api.spec import Data
from bertjob_tasks import errors, metrics
from bertjob_tasks.embedding import Embedding, Pair
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.registry import task_of
from bertjob_tasks.task import answers_of, metric_of

TASK, POSITIVE = Embedding(), Embedding("positive-pairs")
PLACE = errors.Place("a", 1)


def read(folder: Path, *rows: Any, task: Embedding = TASK, **data: Any) -> list[Pair]:
    """Return the pairs of a file with these rows."""
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = {"train": "storage://t", "validation": "storage://v", **data}
    return list(task.read(path, parse(Data, spec, path="spec.data"), labels=None))


def encoder_of(folder: Path, length: int = 8) -> Encoder:
    """Return a small encoder."""
    return Encoder.from_folder(a_vocab_folder(folder), max_length=length)


def a_pair(text: str, second: str, score: float | None = 0.5) -> Pair:
    """Return a pair."""
    return Pair(text, second, score, PLACE)


def test_scores_are_scaled(tmp_path: Path) -> None:
    """From 0 to spec.data.maxScore becomes 0 to 1, which is the default."""
    row = {"text": "the cat", "text_pair": "a dog", "label": 1}

    assert [pair.score for pair in read(tmp_path, row, {**row, "label": 5.0}, maxScore=5)] == [0.2, 1.0]
    assert [(pair.text, pair.second, pair.score) for pair in read(tmp_path, row)] == [("the cat", "a dog", 1.0)]


@pytest.mark.parametrize(
    ("row", "task", "words"),
    [
        ({"text": "x", "text_pair": "y", "label": 4}, TASK, ("score is 4, expected 0 to 1", "spec.data.maxScore")),
        ({"text": "x", "text_pair": "y", "label": -0.1}, TASK, ("score is -0.1",)),
        ({"text": "x", "text_pair": "y"}, TASK, ("'label'", "columns.label")),
        ({"text": "x", "label": 1}, TASK, ("'text_pair'", "columns.textPair")),
        ({"text": "x", "label": 1}, POSITIVE, ("'text_pair'",)),
    ],
)
def test_bad_row_says_what_is_expected(row: Any, task: Embedding, words: tuple[str, ...], tmp_path: Path) -> None:
    """One line with the place of the row."""
    with pytest.raises(errors.RowError) as caught:
        read(tmp_path, row, task=task)

    assert "train.jsonl:1" in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_what_the_pairs_must_have_follows_from_the_problem(tmp_path: Path) -> None:
    """Scored pairs differ, positive ones have no score, and held-out pairs always have one."""
    assert TASK.discover([a_pair("x", "y", 0.1), a_pair("x", "y", 0.9)]) == ()
    assert POSITIVE.discover([a_pair("x", "y", None)]) == ()
    with pytest.raises(errors.DataError, match="same score in every row"):
        TASK.discover([a_pair("x", "y")] * 3)
    with pytest.raises(errors.RowError, match=r"has a score.*positive-pairs"):
        POSITIVE.discover([a_pair("x", "y", None), a_pair("x", "y")])
    with pytest.raises(errors.RowError, match="held-out pair"):
        POSITIVE.encode([a_pair("x", "y", None)], (), encoder=encoder_of(tmp_path))


def test_a_training_pair_is_one_input(tmp_path: Path) -> None:
    """Both texts, each with [CLS] and [SEP] and cut to the length, told apart by token types."""
    pairs = [a_pair("the cat", "dog", 0.25), a_pair("cat " * 20, "ran")]

    features = TASK.encode_training(pairs, (), encoder=encoder_of(tmp_path))

    assert features.inputs[0].ids.tolist() == [2, 5, 6, 3, 2, 8, 3]
    assert features.inputs[0].type_ids.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert features.inputs[1].type_ids.tolist() == [0] * 8 + [1] * 3
    assert features.targets.tolist() == [0.25, 0.5]


def test_long_text_is_the_mean_of_its_chunks(tmp_path: Path) -> None:
    """Chunks cover the text without overlap; longer ones weigh more; the vector has length 1."""
    ((*chunks,),) = TASK.encode_asked(["the cat sat dog ran good bad very"], encoder=encoder_of(tmp_path))

    assert [item.ids.tolist() for item in chunks] == [[2, 5, 6, 7, 8, 9, 10, 3], [2, 11, 12, 3]]
    answer = TASK.decode([np.array([1.0, 0.0]), np.array([0.0, 1.0])], tuple(chunks), "x", labels=(), with_scores=False)
    assert answer["vector"] == pytest.approx([6 / np.hypot(6, 2), 2 / np.hypot(6, 2)])
    columns = TASK.columns([answer, answer], labels=())
    assert columns["vector"][:2] == ("FP32", [2, 2])
    assert (columns.keys(), TASK.output_rank) == (TASK.outputs.keys(), 2)


def test_pairs_are_judged_by_the_ranks_of_their_cosines(tmp_path: Path) -> None:
    """A pair's inputs, however many, give one cosine; the statistics' means give Spearman's correlation, named first."""
    rng = np.random.default_rng(3)
    pairs = [a_pair("the cat " * int(rng.integers(1, 9)), "dog", float(rng.random())) for _ in range(30)]
    features = TASK.encode(pairs, (), encoder=encoder_of(tmp_path))
    outputs = [vector / np.linalg.norm(vector) for vector in rng.normal(size=(len(features.inputs), 3))]

    answers = answers_of(TASK, features, outputs)

    assert len(features.inputs) > 60
    assert features.num_items == len(answers) == 30
    part = next(part for part in features.slices if part.stop - part.start == 2)
    first, second = outputs[part]
    assert answers[features.slices.index(part)] == pytest.approx(float(first @ second))
    scores = TASK.scores(features, answers)
    assert next(iter(scores)) == TASK.metric == "spearman"
    expected = metrics.spearman(np.array(answers), np.array([pair.score for pair in pairs]))
    assert scores["spearman"] == pytest.approx(expected)
    assert metric_of(TASK, features, answers) == pytest.approx(expected)
    assert TASK.statistics(features, answers).shape == (30, 5)


def test_golden_vectors_are_compared_by_their_cosine() -> None:
    """Rounding is let pass; another direction, nothing and no number are not."""
    recorded = np.array([0.6, 0.8])

    same = [
        TASK.same(recorded, np.array(got), tolerance=0.05) for got in ([0.58, 0.81], [0.8, -0.6], [0, 0], [np.nan, 1])
    ]

    assert same == [True, False, False, False]


@pytest.mark.parametrize(("pooling", "mode"), [(None, "mean_tokens"), ("mean", "mean_tokens"), ("cls", "cls_token")])
def test_pooling_reaches_the_model_and_its_files(pooling: Any, mode: str) -> None:
    """What the vector is made of is said in the file that sentence-transformers reads."""
    task = task_of("embedding", None, pooling=pooling)

    files = task.files(hidden_size=16, max_length=64)

    assert task.reads == ("cls" if pooling == "cls" else "mean")
    chosen = {key for key, value in files["1_Pooling/config.json"].items() if value is True}
    assert chosen == {f"pooling_mode_{mode}"}
    assert [module["path"] for module in files["modules.json"]] == ["", "1_Pooling", "2_Normalize"]
