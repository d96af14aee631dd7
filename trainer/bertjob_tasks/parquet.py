"""
Parquet files, row by row.

pyarrow reads them; it weighs 165 MB on disk, so it is an extra that only those install who have such files.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bertjob_tasks.errors import DataError, Place, UnsupportedError

_ROWS: Final = 1024
"""Rows that are in memory at once, beside the pages they come from."""


def rows(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """
    Yield each row's place, which counts rows from 1 as there are no lines, and its columns.

    Raises:
        UnsupportedError: pyarrow is not installed here.
        DataError: the file cannot be read.

    """
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415  # most data are not Parquet
    except ImportError:
        raise UnsupportedError(
            "spec.data.format: parquet needs pyarrow, which is not installed here; install bertjob[parquet] in the training "
            "image, or convert the data to jsonl"
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Place(path.name, number), row
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        where = f"after row {number}" if number else "at its beginning"
        raise DataError(f"{path.name}: cannot be read as Parquet {where} ({reason}); write the file again") from error
