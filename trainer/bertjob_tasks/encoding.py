"""
Texts to token ids and to padded batches.

Shapes: B inputs of a batch, L tokens of the longest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bertjob_tasks import tokenizer_files
from bertjob_tasks.errors import ModelFolderError

Ids = NDArray[np.int32]
_CHUNK: Final = 1024
"""Texts encoded at once: the library's result objects weigh far more than the ids."""
STRIDE: Final = 64
"""Tokens that neighbouring windows of a long text share."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input, unpadded, special tokens included."""

    ids: Ids
    """(L,) int32."""
    type_ids: Ids
    """(L,) int32: 0 for the first text, 1 for the second."""
    words: Ids | None = None
    """(L,) int32: the number of the word that a token begins, -1 for other tokens; None: it was no list of words."""
    places: Ids | None = None
    """(L, 2) int32: first character of each token in the second text, and one past its last; None: nobody asks."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs padded to the longest of them."""

    ids: Ids
    """(B, L) int32."""
    type_ids: Ids
    """(B, L) int32."""
    mask: Ids
    """(B, L) int32: 1 for tokens, 0 for padding."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The tokens of one whole text, without special tokens."""

    ids: Ids
    """(L,) int32."""
    places: Ids
    """(L, 2) int32: first character of each, and one past its last."""


class Encoder:
    """
    The tokenizer of a model folder, cutting at a fixed length.

    Not safe for two threads at once: the tokenizer's state is shared.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, stride: int | None = None) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        self.max_length = max_length
        self.stride = STRIDE if stride is None else stride
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self.pad_id = _id_of(tokenizer, "[PAD]")
        self.cls_id = _id_of(tokenizer, "[CLS]")
        self.sep_id = _id_of(tokenizer, "[SEP]")
        self.mask_id = _id_of(tokenizer, "[MASK]")
        self.unk_id = _id_of(tokenizer, "[UNK]")
        self._tokenizer = tokenizer

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer, to be read only."""
        return self._tokenizer

    @classmethod
    def from_folder(cls, folder: Path, *, max_length: int, stride: int | None = None) -> Self:
        """
        Return the encoder of a model folder.

        Args:
            folder: with the tokenizer's files.
            max_length: tokens of an input, special ones included; texts are cut to it, or into windows of it.
            stride: tokens that neighbouring windows share; None: ``STRIDE``.

        Raises:
            ModelFolderError: there is no tokenizer, or not one of BERT's.

        """
        return cls(tokenizer_files.load(folder), max_length=max_length, stride=stride)

    def spelling(self) -> list[str]:
        """Return how each token id is spelled; "" where an id is nobody's."""
        found = self._tokenizer.get_vocab(with_added_tokens=True)
        spelled = [""] * (max(found.values()) + 1)
        for token, number in found.items():
            spelled[number] = token
        return spelled

    def encode(self, texts: Sequence[str | tuple[str, str]], *, reads_special: bool = False) -> list[Encoded]:
        """
        Return the tokens of each text or pair; the longer text of a pair is cut first.

        In pairs a text that spells ``[SEP]`` is just that text: the first [SEP] is where the second text begins.

        Args:
            texts: texts or pairs, all of one kind.
            reads_special: take what spells a special token in a pair as that token; nothing may spell ``[SEP]`` then.

        Raises:
            ModelFolderError: the tokenizer does not mark the second text of a pair by token type 1, as BERT was trained.

        """
        self._tokenizer.encode_special_tokens = not reads_special and any(isinstance(text, tuple) for text in texts)
        encoded: list[Encoded] = []
        for start in range(0, len(texts), _CHUNK):
            found = self._tokenizer.encode_batch_fast(list(texts[start : start + _CHUNK]))
            encoded.extend(
                Encoded(np.array(item.ids, dtype=np.int32), np.array(item.type_ids, dtype=np.int32)) for item in found
            )
            if isinstance(texts[start], tuple):
                self._require_types(encoded[start])
        return encoded

    def _require_types(self, pair: Encoded) -> None:
        is_sep = pair.ids == self.sep_id
        expected = np.cumsum(is_sep) - is_sep
        if not np.array_equal(pair.type_ids, expected):
            raise ModelFolderError(
                "model folder: the tokenizer does not mark the second text of a pair by token type 1; use a BERT tokenizer "
                "whose template for pairs is [CLS] $A [SEP] $B:1 [SEP]:1"
            )

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[Encoded]:
        """Return the tokens of each list of words, and which word each of them begins."""
        self._tokenizer.encode_special_tokens = True
        encoded: list[Encoded] = []
        for start in range(0, len(texts), _CHUNK):
            part = [list(words) for words in texts[start : start + _CHUNK]]
            for item in self._tokenizer.encode_batch(part, is_pretokenized=True):
                types = np.array(item.type_ids, dtype=np.int32)
                encoded.append(Encoded(np.array(item.ids, dtype=np.int32), types, _begun(item.word_ids)))
        return encoded

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Return all tokens of each text, however long; a text that spells a special token is just that text."""
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        try:
            return [
                Pieces(np.array(item.ids, dtype=np.int32), np.array(item.offsets, dtype=np.int32).reshape(-1, 2))
                for start in range(0, len(texts), _CHUNK)
                for item in self._tokenizer.encode_batch(list(texts[start : start + _CHUNK]), add_special_tokens=False)
            ]
        finally:
            self._tokenizer.enable_truncation(self.max_length)

    def batch(self, texts: Sequence[str | tuple[str, str]]) -> Batch:
        """Return the texts as one padded batch."""
        return pad(self.encode(texts), pad_id=self.pad_id)


def pad(inputs: Sequence[Encoded], *, pad_id: int) -> Batch:
    """Return *inputs* as a batch, padded on the right to the longest; at least one input."""
    assert inputs, "a batch has at least one input"
    shape = (len(inputs), max(len(item.ids) for item in inputs))
    ids = np.full(shape, pad_id, dtype=np.int32)
    type_ids = np.zeros(shape, dtype=np.int32)
    mask = np.zeros(shape, dtype=np.int32)
    for row, item in enumerate(inputs):
        length = len(item.ids)
        ids[row, :length] = item.ids
        type_ids[row, :length] = item.type_ids
        mask[row, :length] = 1
    return Batch(ids, type_ids, mask)


def _id_of(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ModelFolderError(f"model folder: the tokenizer has no token {token}; only BERT tokenizers are supported")
    return int(number)


def _begun(word_ids: Sequence[int | None]) -> Ids:
    """Return each token's word where it is the word's first token, else -1."""
    before: int | None = None
    begun = []
    for word in word_ids:
        begun.append(-1 if word is None or word == before else word)
        before = word
    return np.array(begun, dtype=np.int32)
