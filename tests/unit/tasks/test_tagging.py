"""Tagging words: files, alignment of tokens, spans and their F1, answers with places in the text."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models import a_vocab_folder

from bertjob_api.parse import parse
from bertjob_api.spec import Data
from bertjob_tasks import entities, errors, words
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.entities import Span
from bertjob_tasks.registry import task_of
from bertjob_tasks.tagging import Sentence
from bertjob_tasks.task import IGNORED

TASK = task_of("token-classification", None)
LABELS = ("B-PET", "I-PET", "O")
PLACE = errors.Place("a", 1)


def settings(format_: str = "conll") -> Data:
    """Return spec.data of a format."""
    return parse(Data, {"train": "storage://t", "validation": "storage://v", "format": format_}, path="spec.data")


def read(folder: Path, text: str, format_: str = "conll") -> list[Sentence]:
    """Return the sentences of a file with this text."""
    path = folder / f"train.{format_}"
    path.write_bytes(text.encode())
    return list(TASK.read(path, settings(format_), labels=None))


def encoder_of(folder: Path, length: int = 16) -> Encoder:
    """Return a small encoder."""
    return Encoder.from_folder(a_vocab_folder(folder), max_length=length)


CONLL = "-DOCSTART- -X- O\n\nthe DT O\ncat NN B-PET\n\n\nran\tO\r\nthe cat\tB-PET\n"
LINES = '{"text": ["the", "cat"], "label": ["O", "B-PET"]}\n{"text": ["ran", "the cat"], "label": ["O", "B-PET"]}\n'


@pytest.mark.parametrize(("text", "format_", "lines"), [(CONLL, "conll", (3, 7)), (LINES, "jsonl", (1, 2))])
def test_formats_read_alike(text: str, format_: str, lines: tuple[int, int], tmp_path: Path) -> None:
    """Columns are split at tabs or else at spaces, the last is the tag; documents' first lines are no words."""
    found = read(tmp_path, text, format_)

    assert [(item.words, item.tags, item.place.line) for item in found] == [
        (("the", "cat"), ("O", "B-PET"), lines[0]),
        (("ran", "the cat"), ("O", "B-PET"), lines[1]),
    ]


@pytest.mark.parametrize(
    ("text", "format_", "words_said"),
    [
        ("the O\ncat\nran O\n", "conll", (":2:", "1 column", "a word and its tag")),
        ("the O\n\tB-PET\n", "conll", (":2:", "lacks word or tag")),
        ('{"text": ["a"], "label": ["O", "O"]}', "jsonl", (":1:", "1 words and 2 tags")),
        ('{"text": "a", "label": ["O"]}', "jsonl", (":1:", "'text'", "holds str", "list of texts")),
        ('{"text": ["a", 1], "label": ["O", "O"]}', "jsonl", (":1:", "other than texts")),
        ('{"text": [], "label": []}', "jsonl", (":1:", "empty")),
    ],
)
def test_bad_rows_are_refused_with_their_place(
    text: str, format_: str, words_said: tuple[str, ...], tmp_path: Path
) -> None:
    """Each mistake names its line and what was expected there."""
    with pytest.raises(errors.RowError) as caught:
        read(tmp_path, text, format_)

    assert [word for word in words_said if word not in str(caught.value)] == []


def test_bytes_that_are_no_text_spoil_their_sentence_alone(tmp_path: Path) -> None:
    """A wrong encoding is told with its place."""
    (tmp_path / "train.conll").write_bytes(b"caf\xe9 O\n")

    with pytest.raises(errors.EncodingError, match=r"train\.conll:1: .*UTF-8"):
        list(TASK.read(tmp_path / "train.conll", settings(), labels=None))


def test_other_formats_are_refused(tmp_path: Path) -> None:
    """A table has no lists of words."""
    with pytest.raises(
        errors.UnsupportedError, match="got csv, this version reads conll, jsonl, parquet for this task"
    ):
        read(tmp_path, "text,label\n", "csv")


def test_only_the_first_token_of_a_word_has_its_tag(tmp_path: Path) -> None:
    """Pieces, marks and special tokens have no target, and a word that is cut off has none either."""
    sentence = Sentence(("cats", "ran", "catly."), ("B-PET", "O", "I-PET"), PLACE)

    features = TASK.encode([sentence], LABELS, encoder=encoder_of(tmp_path))
    cut = TASK.encode([sentence], LABELS, encoder=encoder_of(tmp_path, 5))

    # [CLS] cat ##s ran cat ##ly . [SEP]
    assert features.inputs[0].ids.tolist() == [2, 6, 15, 9, 6, 16, 17, 3]
    assert features.targets.tolist() == [IGNORED, 0, IGNORED, 2, 1, IGNORED, IGNORED, IGNORED]
    assert cut.targets.tolist() == [IGNORED, 0, IGNORED, 2, IGNORED]


def test_words_that_were_cut_off_count_as_missed(tmp_path: Path) -> None:
    """A model cannot score better by reading less."""
    sentence = Sentence(("cat", "ran", "ran", "dog"), ("B-PET", "O", "O", "B-PET"), PLACE)
    features = TASK.encode([sentence], LABELS, encoder=encoder_of(tmp_path, 5))

    assert len(features.inputs[0].ids) == 5
    assert TASK.statistics(features, [2, 0, 2, 2, 2]).tolist() == [[1, 1, 2]]
    assert TASK.scores(features, [2, 0, 2, 2, 2]) == {
        "entityF1": pytest.approx(2 / 3),
        "precision": 1.0,
        "recall": 0.5,
        "wordAccuracy": 0.75,
    }


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-A I-A O B-A", [Span("A", 0, 2), Span("A", 3, 4)]),
        ("B-A B-A", [Span("A", 0, 1), Span("A", 1, 2)]),
        ("B-A I-B", [Span("A", 0, 1), Span("B", 1, 2)]),
        ("I-A I-A O I-A", [Span("A", 0, 2), Span("A", 3, 4)]),
        ("B-A O I-A", [Span("A", 0, 1), Span("A", 2, 3)]),
        ("DT NN NN", [Span("DT", 0, 1), Span("NN", 1, 2), Span("NN", 2, 3)]),
        ("B-my-kind I-my-kind", [Span("my-kind", 0, 2)]),
    ],
)
def test_spans_of_tags(tags: str, expected: list[Span]) -> None:
    """Spans are those of conlleval, and tags of another scheme are spans of one word."""
    assert entities.spans(tags.split()) == expected


def test_a_span_counts_only_as_a_whole() -> None:
    """Half of a span is a wrong one and a missed one."""
    assert entities.counts(("B-A", "O", "B-B"), ("B-A", "I-A", "B-B")) == (1, 2, 2)


@given(st.lists(st.sampled_from(("B-A", "I-A", "B-B", "I-B", "O")), max_size=12))
def test_spans_are_in_order_and_do_not_overlap(tags: list[str]) -> None:
    """Every word that is not outside is in one span."""
    found = entities.spans(tags)

    covered = [word for span in found for word in range(span.start, span.end)]
    assert covered == [number for number, tag in enumerate(tags) if tag != "O"]


@given(st.text(max_size=40))
def test_words_of_a_text_are_where_they_say(text: str) -> None:
    """Words lie in the text in order, and nothing but white space is between them."""
    found, end = words.split(text), 0
    for word in found:
        assert text[end : word.start].strip() == ""
        assert text[word.start : word.end] == word.text != ""
        end = word.end
    assert text[end:].strip() == ""


def test_words_are_cut_as_data_sets_cut_them() -> None:
    """Contractions, hyphens, abbreviations and names on the net stay whole; marks and ideographs stand alone."""
    text = "Don't ask @some_one: U.S. sales (3.5 %) - well-known\u4e2d\u6587"

    assert [word.text for word in words.split(text)] == [
        "Don't", "ask", "@some_one", ":", "U.S", ".", "sales", "(", "3.5", "%", ")", "-", "well-known", "\u4e2d", "\u6587",
    ]  # fmt: skip


def test_answer_has_places_in_the_text(tmp_path: Path) -> None:
    """Spans are cut out of what was sent, be it a text or its words."""
    logits = np.full((7, 3), -9.0)
    for token, tag in enumerate((2, 2, 0, 0, 1, 2, 2)):  # [CLS] the cat ##s dog ! [SEP]
        logits[token, tag] = 9
    for asked, text in (("the  cats dog!", "cats dog"), (("the", "cats", "dog", "!"), "cats dog")):
        (tokens,) = TASK.encode_asked([asked], encoder=encoder_of(tmp_path))

        answer = TASK.decode([logits], tokens, asked, labels=LABELS, with_scores=True)

        (entity,) = answer["entities"]
        joined = asked if isinstance(asked, str) else " ".join(asked)
        assert (entity["label"], entity["text"], joined[entity["start"] : entity["end"]]) == ("PET", text, text)
        assert entity["score"] == pytest.approx(1)
        assert [word["label"] for word in answer["words"]] == ["O", "B-PET", "I-PET", "O"]


def test_text_without_words_has_no_entities(tmp_path: Path) -> None:
    """White space is a text too."""
    (tokens,) = TASK.encode_asked(["  "], encoder=encoder_of(tmp_path))

    answer = TASK.decode([np.zeros((2, 3))], tokens, "  ", labels=LABELS, with_scores=False)

    assert answer == {"entities": []}
    assert TASK.columns([answer], labels=LABELS) == {"entities": ("BYTES", [1], ["[]"])}
