"""A model folder's tokenizer: ``tokenizer.json``, or BERT's own ``vocab.txt`` with ``tokenizer_config.json``."""

import json
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from bertjob_tasks.errors import ModelFolderError

NAMES: Final = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
"""Files that make up a tokenizer, in the Hugging Face layout; exported models carry those that their source has."""
_SPECIAL: Final = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def load(folder: Path) -> Tokenizer:
    """
    Return the folder's tokenizer, without padding or truncation.

    Raises:
        ModelFolderError: there is none, or it cannot be read.

    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = _from_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        tokenizer = _word_piece(folder)
    else:
        raise ModelFolderError(
            "model folder: has neither tokenizer.json nor vocab.txt; put the tokenizer's files beside config.json"
        )
    # Published files often carry padding to a fixed length (all-MiniLM-L6-v2 does), which would waste most of the work.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _from_json(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises nothing more specific
        raise ModelFolderError(
            f"model folder: {path.name} cannot be read ({error}); save it with save_pretrained"
        ) from error


def _word_piece(folder: Path) -> Tokenizer:
    """Source: Devlin et al., google-research/bert, tokenization.py: clean, split at white space and punctuation, then words."""
    config = _config(folder / "tokenizer_config.json")
    names = {key: _content(config.get(f"{key}_token", default)) for key, default in _SPECIAL.items()}
    vocab = _vocab(folder / "vocab.txt")
    missing = sorted(name for name in names.values() if name not in vocab)
    if missing:
        raise ModelFolderError(
            f"model folder: vocab.txt lacks {', '.join(missing)}; use the vocabulary the model was made with"
        )
    tokenizer = Tokenizer(WordPiece(vocab, unk_token=names["unk"], max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = BertPreTokenizer()
    cls, sep = names["cls"], names["sep"]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names.values()])
    return tokenizer


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFolderError(f"model folder: {path.name} is not JSON ({error}); replace or remove it") from error
    return value if isinstance(value, dict) else {}


def _content(token: Any) -> str:
    """Return a special token's text: a string, or an object with ``content``."""
    return str(token["content"] if isinstance(token, dict) else token)


def _vocab(path: Path) -> dict[str, int]:
    """Return token to id; the line number is the id."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ModelFolderError(
            f"model folder: vocab.txt is not UTF-8 at byte {error.start}; use the original file"
        ) from error
    while lines and not lines[-1]:
        lines.pop()
    return {line.rstrip("\r"): number for number, line in enumerate(lines)}
