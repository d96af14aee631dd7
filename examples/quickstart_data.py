"""
The quickstart's data: first sentences of docstrings, labelled by the part of a library that they describe.

Read at run time from source that this environment has anyway, without importing it: modules of Python's standard library and
the packages that ``requirements/dev.txt`` pins by hash. Nothing is downloaded and nothing is copied into this repository.

Split by module: a module's sentences are all for training or all held out, so the model is asked about code it has never
seen. Order and choice come from sha256, so the same source gives the same files.
"""

import argparse
import ast
import hashlib
import importlib.util
import json
import os
import re
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bertjob_storage import open_storage
from bertjob_storage.protocol import StorageError

STANDARD: Final = "standard:"
"""Marks a module of the standard library; the others are folders or modules of installed packages."""

SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "files": tuple(
        f"{STANDARD}{name}"
        for name in (
            *("zipfile", "tarfile", "gzip", "bz2", "lzma", "shutil", "tempfile", "pathlib", "glob", "os", "posixpath"),
            *("fileinput", "filecmp", "zipapp", "genericpath", "stat", "_pyio", "linecache", "dbm", "shelve"),
        )
    ),
    "geometry": ("sympy/geometry", "sympy/vector", "scipy/spatial"),
    "graphs": ("networkx/algorithms", "networkx/classes", "networkx/generators", "scipy/sparse/csgraph"),
    "images": ("PIL", "scipy/ndimage"),
    "network": (
        *(f"{STANDARD}{name}" for name in ("http", "urllib", "socket", "socketserver", "ssl", "ftplib", "imaplib")),
        *(f"{STANDARD}{name}" for name in ("poplib", "smtplib", "xmlrpc", "ipaddress", "wsgiref", "selectors")),
        *("aiohttp", "httpx", "httpcore", "requests", "urllib3", "websockets", "starlette", "uvicorn", "h11"),
    ),
    "security": ("cryptography", "oauthlib", "jwt"),
    "statistics": ("scipy/stats", "sympy/stats", "torch/distributions"),
    "testing": tuple(
        f"{STANDARD}{name}" for name in ("unittest", "doctest", "pdb", "bdb", "trace", "timeit", "pstats")
    ),
}
"""Folder or module of each label, as POSIX paths."""

TRAIN_PER_LABEL: Final = 35
"""Few, so that it shows what pretraining is worth: with as few texts, words alone say little."""
HELD_OUT_PER_LABEL: Final = 50
PER_MODULE: Final = 15
"""Sentences of one module: one large module must not speak for its whole label."""
WORDS: Final = range(6, 41)
"""Words of a sentence: shorter ones say too little ("Return the size."), longer ones are not sentences."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"])|\n\s*\n|:\s*\n")
_SKIPPED: Final = frozenset({"tests", "test", "_vendor", "vendored", "_external", "externals"})


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """One labelled sentence."""

    label: str
    module: str
    text: str

    @property
    def key(self) -> str:
        """Return what orders examples: sha256 of the text, the same on every machine."""
        return _sha256(self.text)


def collect() -> list[Example]:
    """Return every usable sentence of the sources, sorted; a sentence that stands under two labels is left out."""
    found = {example for label, sources in SOURCES.items() for source in sources for example in _read(label, source)}
    first: dict[str, Example] = {}
    labels: dict[str, set[str]] = {}
    for example in sorted(found):
        first.setdefault(example.text.lower(), example)
        labels.setdefault(example.text.lower(), set()).add(example.label)
    return [example for text, example in first.items() if len(labels[text]) == 1]


def split(examples: Iterable[Example]) -> tuple[list[Example], list[Example]]:
    """Return training and held-out examples: equally many of each label, no module in both, in an order that mixes labels."""
    train: list[Example] = []
    held_out: list[Example] = []
    by_label: dict[str, list[Example]] = {}
    for example in examples:
        by_label.setdefault(example.label, []).append(example)
    for of_label in by_label.values():
        for_training, for_test = _split_modules(of_label)
        train += for_training
        held_out += for_test
    return sorted(train, key=lambda each: each.key), sorted(held_out, key=lambda each: each.key)


def write(folder: Path) -> tuple[list[Example], list[Example]]:
    """Write ``train.jsonl`` and ``validation.jsonl`` to *folder* and return what stands in them."""
    train, held_out = split(collect())
    folder.mkdir(parents=True, exist_ok=True)
    for name, examples in (("train", train), ("validation", held_out)):
        lines = (json.dumps({"text": each.text, "label": each.label}, ensure_ascii=False) for each in examples)
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return train, held_out


def put(to: str, env: Mapping[str, str] = os.environ) -> tuple[list[Example], list[Example]]:
    """Do as ``write`` does in a folder or, with the AWS_ variables of *env*, below an ``s3://`` URI."""
    if not to.startswith("s3://"):
        return write(Path(to))
    storage = open_storage(to, env)
    with tempfile.TemporaryDirectory() as folder:
        written = write(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            storage.upload(f"{to.rstrip('/')}/{path.name}", path)
    return written


def _split_modules(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    modules: dict[str, list[Example]] = {}
    for example in examples:
        modules.setdefault(example.module, []).append(example)
    train: list[Example] = []
    held_out: list[Example] = []
    for module in sorted(modules, key=_sha256):
        chosen = sorted(modules[module], key=lambda each: each.key)[:PER_MODULE]
        (held_out if len(held_out) < HELD_OUT_PER_LABEL else train).extend(chosen)
    label = examples[0].label
    for name, part, wanted in (("training", train, TRAIN_PER_LABEL), ("held-out", held_out, HELD_OUT_PER_LABEL)):
        if len(part) < wanted:
            raise ValueError(
                f"label {label}: found {len(part)} {name} sentences, expected {wanted}; run make env again"
            )
    return _first(train, TRAIN_PER_LABEL), _first(held_out, HELD_OUT_PER_LABEL)


def _first(examples: list[Example], count: int) -> list[Example]:
    return sorted(examples, key=lambda each: each.key)[:count]


def _read(label: str, source: str) -> Iterator[Example]:
    root, path = _locate(source)
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    for file in files:
        relative = file.relative_to(root)
        if file.exists() and _SKIPPED.isdisjoint(relative.parts) and not file.name.startswith("test_"):
            for text in _sentences(file):
                yield Example(label, relative.as_posix(), text)


def _locate(source: str) -> tuple[Path, Path]:
    """Return the folder that module paths are relative to, and the folder or module itself; nothing is imported."""
    if source.startswith(STANDARD):
        root = Path(sysconfig.get_paths()["stdlib"])
        return root, root / source.removeprefix(STANDARD)
    package = source.split("/", maxsplit=1)[0]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"package {package}: is not installed in this environment; run make env")
    root = Path(spec.origin).parent.parent
    return root, root / source


def _sentences(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            sentence = first_sentence(ast.get_docstring(node) or "")
            if len(sentence.split()) in WORDS:
                yield sentence


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring on one line."""
    return " ".join(_SENTENCE_END.split(docstring.strip(), maxsplit=1)[0].split())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> int:
    """Write the files and say what is in them; 1 when they cannot be written."""
    parser = argparse.ArgumentParser(description="Write the quickstart's train.jsonl and validation.jsonl.")
    parser.add_argument("--to", required=True, metavar="DIR|s3://...", help="where to put both files")
    to: str = parser.parse_args().to
    try:
        train, held_out = put(to)
    except (OSError, ValueError, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{to}: {len(train)} training and {len(held_out)} held-out sentences")
    for label, count in sorted(Counter(each.label for each in train).items()):
        print(f"  {label:<16} {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
