"""Plain text, cut into passages and pairs."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.models import VOCAB, a_vocab_folder

from bertjob_api.spec import Columns, Data
from bertjob_tasks import passages
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.errors import EncodingError, NoExamplesError
from bertjob_tasks.masked_lm import TOP, MaskedLanguage
from bertjob_tasks.pretraining import NEXT, OTHER, Pair, Pretraining
from bertjob_tasks.task import IGNORED

MASK = VOCAB.index("[MASK]")


def data(format_: str = "text", *, length: int = 18, bad: int = 0) -> Data:
    return Data(
        train="file:///t",
        validation="file:///v",
        format=format_,  # type: ignore[arg-type]
        columns=Columns(text="said"),
        max_sequence_length=length,
        max_bad_rows=bad,
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return path


def encoder(folder: Path, *, length: int = 18) -> Encoder:
    return Encoder.from_folder(a_vocab_folder(folder), max_length=length)


def test_sentences_are_joined_within_their_document(tmp_path: Path) -> None:
    """As many neighbouring sentences as fit make a passage; a blank line ends it, and too long ones are cut at a word."""
    path = written(tmp_path, "a b c\nd e f g\nh i j k l m\n\nn\n\n" + "w " * 30 + "\n")
    found = list(MaskedLanguage().read(path, data(), labels=None))
    assert [item.text for item in found] == [
        "a b c d e f g",
        "h i j k l m",
        "n",
        " ".join("w" * 12),
        " ".join("w" * 12),
        " ".join("w" * 6),
    ]
    assert [str(item.place) for item in found[:4]] == ["text.txt:1", "text.txt:3", "text.txt:5", "text.txt:7"]


def test_rows_of_tables_are_documents_of_their_own(tmp_path: Path) -> None:
    """Texts come from tables too, and what spells a special token is no command."""
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"said": text}) + "\n" for text in ("the cat", "sat [SEP] [MASK]")))
    assert [item.text.split() for item in MaskedLanguage().read(path, data("jsonl"), labels=None)] == [
        ["the", "cat"],
        ["sat"],
    ]


def test_bad_lines_are_named(tmp_path: Path) -> None:
    """A byte that is not UTF-8 spoils its line alone, and an empty file is refused."""
    path = tmp_path / "latin.txt"
    path.write_bytes(b"the cat\ncaf\xe9 sat\nthe dog\n")
    with pytest.raises(EncodingError, match=r"latin\.txt:2: .*UTF-8"):
        list(MaskedLanguage().read(path, data(), labels=None))
    assert [item.text for item in MaskedLanguage().read(path, data(bad=1), labels=None)] == ["the cat the dog"]
    with pytest.raises(NoExamplesError):
        list(MaskedLanguage().read(written(tmp_path, "\n\n"), data(), labels=None))


def test_gaps_are_the_same_every_time_and_can_be_sent(tmp_path: Path) -> None:
    """What a client would send encodes to what is judged; the targets are the hidden words that are one piece."""
    task, reader = MaskedLanguage(), encoder(tmp_path)
    path = written(tmp_path, "the cat sat\n\ncatly dogs ran very good\n\ngood\n\ndog!\n\n...\n")
    examples = list(task.read(path, data(), labels=None))
    features = task.encode(examples, (), encoder=reader)
    asked = [item for (item,) in task.encode_asked([task.asked(example) for example in examples], encoder=reader)]
    assert [item.ids.tolist() for item in asked] == [item.ids.tolist() for item in features.inputs]
    gaps = [item.ids.tolist().count(MASK) for item in features.inputs]
    assert gaps == [1, 1, 1, 1, 0]
    judged = features.targets != IGNORED
    assert (np.concatenate([item.ids for item in features.inputs])[judged] == MASK).all()

    answers = [float(gap) for part in features.gold.gaps for gap in part]
    assert task.scores(features, answers) == {"maskedAccuracy": 1.0}
    assert task.scores(features, [0.0] * len(answers)) == {"maskedAccuracy": 0.0}


def test_words_of_several_pieces_are_not_judged(tmp_path: Path) -> None:
    """A word that the vocabulary has in pieces only cannot be guessed by one [MASK]."""
    task, reader = MaskedLanguage(), encoder(tmp_path)
    (example,) = task.read(written(tmp_path, "catly"), data(), labels=None)
    features = task.encode([example], (), encoder=reader)
    assert features.inputs[0].ids.tolist() == [2, MASK, 3]
    assert features.targets.tolist() == [IGNORED] * 3
    assert float(task.combine(task.statistics(features, [7.0]).mean(axis=0))) == 0.0


def test_gaps_are_answered_with_words(tmp_path: Path) -> None:
    """Each [MASK] gets its likeliest words; rows of other texts of a batch are left out."""
    task = MaskedLanguage().with_vocabulary(encoder(tmp_path))
    ids = np.arange(5, 5 + TOP, dtype=np.float32)
    row = np.concatenate([np.linspace(0.5, 0.05, TOP, dtype=np.float32), ids])
    outputs = np.stack([row, np.full(2 * TOP, -1, np.float32)])
    ((tokens,),) = task.encode_asked(["the [MASK] sat"], encoder=encoder(tmp_path))
    assert tokens.ids.tolist() == [2, 5, MASK, 7, 3]
    answer = task.decode([outputs], (tokens,), "the [MASK] sat", labels=(), with_scores=False)
    assert [item["token"] for item in answer["masks"][0]] == VOCAB[5:10]
    assert answer["masks"][0][0]["score"] == pytest.approx(0.5)
    assert len(task.decode([outputs], (tokens,), "", labels=(), with_scores=True)["masks"][0]) == TOP
    assert task.reduce([outputs], (tokens,)) == (5.0,)

    moved = outputs.copy()
    moved[0, :TOP] -= 0.01
    swapped = outputs.copy()
    swapped[0, TOP:] = swapped[0, TOP:][::-1]
    assert task.same(outputs, moved, tolerance=0.05)
    assert not task.same(outputs, swapped, tolerance=0.05)
    assert not task.same(outputs, outputs * np.nan, tolerance=0.05)


def documents(folder: Path, count: int) -> Path:
    """Write documents of four sentences, each of which says where it stands."""
    return written(folder, "\n\n".join("\n".join(f"d{doc} s{line} w" for line in range(4)) for doc in range(count)))


def test_half_of_the_pairs_belong_together(tmp_path: Path) -> None:
    """Second texts go on where the first ones end, or come from another document; both about equally often, and always the same."""
    path = documents(tmp_path, 700)
    found = list(Pretraining().read(path, data(length=40), labels=None))
    assert found == list(Pretraining().read(path, data(length=40), labels=None))
    assert all(isinstance(pair, Pair) for pair in found)
    kinds = [pair.order for pair in found if isinstance(pair, Pair)]
    assert np.mean(np.array(kinds) == NEXT) == pytest.approx(0.5, abs=0.04)
    for pair in found:
        assert isinstance(pair, Pair)
        first, second = pair.text.split(), pair.second.split()
        assert (first[-3] == second[0]) == (pair.order == NEXT)
        if pair.order == NEXT:
            assert int(second[1][1:]) == int(first[-2][1:]) + 1
        assert len(first) + len(second) <= passages.room(40, special=3)


def test_every_document_is_used(tmp_path: Path) -> None:
    """What another text took the place of is trained on too: no first sentence is lost."""
    found = Pretraining().read(documents(tmp_path, 60), data(length=40), labels=None)
    assert {pair.text.split()[0] for pair in found} == {f"d{doc}" for doc in range(60)}


def test_pairs_need_documents(tmp_path: Path) -> None:
    """One document, or documents of one sentence, cannot make pairs: the message says what to change."""
    for text in ("a\nb\nc\nd", "a\n\nb\n\nc"):
        with pytest.raises(NoExamplesError, match="blank line between documents"):
            list(Pretraining().read(written(tmp_path, text), data(), labels=None))


def test_pairs_have_gaps_in_both_texts(tmp_path: Path) -> None:
    """Targets stand at the gaps of both texts, whichever was cut, and training sees the pairs whole."""
    task, reader = Pretraining(), encoder(tmp_path, length=10)
    words = "the cat sat good dog ran very bad"
    pairs = [Pair(words, passages.Place("f", 1), words, OTHER), Pair("the cat", passages.Place("f", 2), "sat", NEXT)]
    features = task.encode(pairs, (), encoder=reader)
    assert features.gold.order.tolist() == [OTHER, NEXT]
    assert [len(item.ids) for item in features.inputs] == [10, 6]
    start = 0
    for item in features.inputs:
        targets = features.targets[start : start + len(item.ids)]
        assert ((targets != IGNORED) == (item.ids == MASK)).all()
        start += len(item.ids)
    assert MASK not in np.concatenate([item.ids for item in task.encode_training(pairs, (), encoder=reader).inputs])
