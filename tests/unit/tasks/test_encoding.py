"""Tokenizers of model folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.models import VOCAB, a_vocab_folder
from transformers import BertTokenizer

from bertjob_tasks.encoding import Encoder, pad
from bertjob_tasks.errors import ModelFolderError

TEXTS = ["The cat sat.", "caf\u00e9 CAF\u00c9", "\u4e2d\u6587 cat", "unseenword!", "cat " * 50, "[MASK] cat"]


def test_vocab_file_encodes_as_transformers_does(tmp_path: Path) -> None:
    """vocab.txt with tokenizer_config.json gives the ids of the reference, truncation included."""
    folder = a_vocab_folder(tmp_path)
    reference = BertTokenizer.from_pretrained(str(folder))(TEXTS, truncation=True, max_length=16)["input_ids"]

    found = [item.ids.tolist() for item in Encoder.from_folder(folder, max_length=16).encode(TEXTS)]

    assert found == reference


def test_saved_tokenizer_encodes_as_its_vocab_file(tmp_path: Path) -> None:
    """tokenizer.json comes first, and padding that is stored in it is not applied."""
    folder = a_vocab_folder(tmp_path)
    before = Encoder.from_folder(folder, max_length=16)
    expected = [item.ids.tolist() for item in before.encode(TEXTS)]
    tokenizer = before._tokenizer
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").unlink()

    found = [item.ids.tolist() for item in Encoder.from_folder(folder, max_length=16).encode(TEXTS)]

    assert found == expected


def test_ids_are_int32_without_padding(tmp_path: Path) -> None:
    """Inputs have their own lengths, and at most max_length tokens."""
    found = Encoder.from_folder(a_vocab_folder(tmp_path), max_length=8).encode(["cat", "cat " * 50])

    assert [(item.ids.dtype, len(item.ids), len(item.type_ids)) for item in found] == [
        (np.int32, 3, 3),
        (np.int32, 8, 8),
    ]


def test_batch_is_padded_to_the_longest(tmp_path: Path) -> None:
    """The mask marks tokens, padding carries the pad id."""
    encoder = Encoder.from_folder(a_vocab_folder(tmp_path), max_length=16)

    batch = pad(encoder.encode(["cat", "the cat sat"]), pad_id=encoder.pad_id)

    assert batch.mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.ids[0, 3:].tolist() == [VOCAB.index("[PAD]")] * 2


def test_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    """A model folder without tokenizer says which files to add."""
    with pytest.raises(ModelFolderError, match=r"tokenizer\.json nor vocab\.txt"):
        Encoder.from_folder(tmp_path, max_length=8)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer.json", "{}", "tokenizer.json cannot be read"),
        ("vocab.txt", "cat\n", "lacks"),
    ],
)
def test_broken_tokenizer_is_refused(name: str, content: str, words: str, tmp_path: Path) -> None:
    """A damaged file is named."""
    (tmp_path / name).write_text(content)

    with pytest.raises(ModelFolderError, match=words):
        Encoder.from_folder(tmp_path, max_length=8)


def test_broken_tokenizer_config_is_refused(tmp_path: Path) -> None:
    """tokenizer_config.json that is not JSON is named."""
    folder = a_vocab_folder(tmp_path)
    (folder / "tokenizer_config.json").write_text("{")

    with pytest.raises(ModelFolderError, match=r"tokenizer_config\.json is not JSON"):
        Encoder.from_folder(folder, max_length=8)


def test_cased_vocabulary_keeps_case(tmp_path: Path) -> None:
    """do_lower_case of tokenizer_config.json is obeyed."""
    folder = a_vocab_folder(tmp_path)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))

    (found,) = Encoder.from_folder(folder, max_length=8).encode(["Cat cat"])

    assert found.ids.tolist() == [VOCAB.index(token) for token in ("[CLS]", "[UNK]", "cat", "[SEP]")]
