"""Rows of Parquet files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from bertjob_api.spec import Data
from bertjob_tasks.errors import DataError, LabelError, MissingColumnError
from bertjob_tasks.masked_lm import MaskedLanguage
from bertjob_tasks.multi_label import MultiLabel
from bertjob_tasks.regression import Regression
from bertjob_tasks.single_label import SingleLabel
from bertjob_tasks.tagging import Tagging
from bertjob_tasks.task import Task

NAME = "sequence-classification"


def data(**more: Any) -> Data:
    return Data(train="file:///t", validation="file:///v", format="parquet", **more)


def written(folder: Path, **columns: list[Any]) -> Path:
    path = folder / "rows.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("task", "columns", "found"),
    [
        (SingleLabel(NAME), {"text": ["a", "b"], "label": [1, 0]}, ["1", "0"]),
        (MultiLabel(NAME), {"text": ["a", "b"], "label": [["x", "y"], []]}, [("x", "y"), ()]),
        (Regression(NAME), {"text": ["a", "b"], "label": [0.5, 2.0]}, [0.5, 2.0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_columns_have_their_types(task: Task[Any], columns: dict[str, Any], found: list[Any], tmp_path: Path) -> None:
    """Numbers, texts and lists are what the file says they are."""
    assert [example.label for example in task.read(written(tmp_path, **columns), data(), labels=None)] == found


def test_words_with_tags_and_plain_texts_come_from_parquet_too(tmp_path: Path) -> None:
    """Every task that reads tables reads these; a file in a folder is found by its name."""
    written(tmp_path, text=[["Ada", "wrote"]], label=[["B-P", "O"]])
    assert [item.words for item in Tagging().read(tmp_path, data(), labels=None)] == [("Ada", "wrote")]
    path = written(tmp_path, text=["the cat", "sat"])
    assert [item.text for item in MaskedLanguage().read(path, data(), labels=None)] == ["the cat", "sat"]


def test_bad_rows_are_named_by_file_and_number(tmp_path: Path) -> None:
    """An absent value and a wrong type are bad rows, tolerated as those of other formats are."""
    path = written(tmp_path, text=["a", "b", None], label=["x", None, "y"])
    with pytest.raises(LabelError, match=r"rows\.parquet:2: column 'label' holds nothing"):
        list(SingleLabel(NAME).read(path, data(), labels=None))
    with pytest.raises(MissingColumnError, match=r"rows\.parquet:3: column 'text' holds NoneType"):
        list(SingleLabel(NAME).read(path, data(max_bad_rows=1), labels=None))
    assert len(list(SingleLabel(NAME).read(path, data(max_bad_rows=2), labels=None))) == 1


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    """Another kind of file, and one that was cut off, are one error with the file's name."""
    path = tmp_path / "rows.parquet"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match=r"rows\.parquet: cannot be read as Parquet at its beginning"):
        list(SingleLabel(NAME).read(path, data(), labels=None))
    whole = written(tmp_path, text=["a"] * 500, label=["x"] * 500).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"rows\.parquet: cannot be read as Parquet"):
        list(SingleLabel(NAME).read(path, data(), labels=None))


def test_absent_library_is_named_with_its_extra() -> None:
    """Where pyarrow is not installed, the message says which extra has it."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1].split('|'); sys.modules['pyarrow'] = None\n"
        "from pathlib import Path; from bertjob_tasks import parquet\n"
        "try: list(parquet.rows(Path('x')))\n"
        "except ValueError as error: print(error)"
    )
    argv = [sys.executable, "-c", code, "|".join(filter(None, sys.path))]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "install bertjob[parquet]" in done.stdout
