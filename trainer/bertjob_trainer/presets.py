"""
A model folder for ``preset://NAME``: config and vocabulary; the weights start random.

The folder depends on preset, vocabulary and training texts alone, so every pod makes the same one.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from bertjob_api.spec import Data, Vocabulary
from bertjob_tasks import tokenizer_files
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.errors import ModelFolderError
from bertjob_tasks.task import Task
from bertjob_trainer import bert_config, vocabulary

_SUFFIXES: Final = {".txt": "vocab.txt", ".json": "tokenizer.json"}
"""What a vocabulary's file is called in a model folder."""


def name_of(source: str) -> str | None:
    """Return the preset's name in ``spec.model.source``; None: it is no preset."""
    scheme, _, name = source.partition("://")
    return name if scheme == "preset" else None


def texts_of(task: Task[Any], path: Path, data: Data, *, labels: tuple[str, ...] | None) -> Callable[[], Iterator[str]]:
    """Return what gives all texts of the examples at *path*, anew at each call; raises DataError while they are read."""

    def texts() -> Iterator[str]:
        for example in task.read(path, data, labels=labels):
            yield from task.texts(example)

    return texts


def build(
    name: str, *, folder: Path, texts: Callable[[], Iterable[str]], wanted: Vocabulary, given: Path | None
) -> None:
    """
    Fill *folder*, which is made anew.

    Args:
        name: of the preset.
        folder: where to.
        texts: gives the training texts; asked for only when the vocabulary is learnt.
        wanted: what vocabulary.
        given: the vocabulary's file or folder on this machine; None: it is learnt.

    Raises:
        DataError: an unknown preset, no text, or a vocabulary that cannot be read.

    """
    bert_config.preset(name, vocab_size=1)  # an unknown name is refused before minutes of reading
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if given is not None:
        _take(given, folder)
    else:
        pieces = vocabulary.learn(texts, size=wanted.size, lowercase=wanted.lowercase)
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": wanted.lowercase}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    encoder = Encoder.from_folder(folder, max_length=8)
    config = bert_config.preset(name, vocab_size=encoder.vocab_size).to_dict() | {"pad_token_id": encoder.pad_id}
    (folder / bert_config.CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _take(given: Path, folder: Path) -> None:
    """Copy a vocabulary's files to *folder* under the names of a model folder."""
    if given.is_file():
        if given.suffix not in _SUFFIXES:
            raise ModelFolderError(
                f"spec.model.vocabulary.source: got {given.name}, expected vocab.txt or tokenizer.json; rename the file"
            )
        shutil.copyfile(given, folder / _SUFFIXES[given.suffix])
        return
    for file in tokenizer_files.NAMES:
        if (given / file).is_file():
            shutil.copyfile(given / file, folder / file)
