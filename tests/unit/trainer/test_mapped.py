"""Training data that lie on disk."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.workers import a_toy_job, toy_rows, write_rows

from bertjob_api.job import parse_job
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.errors import DataError
from bertjob_tasks.task import Features
from bertjob_trainer import bert_config, inputs, mapped
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.data import Dataset

CPU = torch.device("cpu")


def features(count: int, *, first: int = 0, targets: Any = None) -> Features:
    texts = [np.arange(2 + (first + number) % 5, dtype=np.int32) + number for number in range(count)]
    encoded = tuple(Encoded(ids, np.zeros(len(ids), np.int32)) for ids in texts)
    return Features(encoded, np.arange(count) % 3 if targets is None else targets)


@pytest.mark.parametrize("shape", [(), (4,)], ids=["numbers", "flags"])
def test_maps_are_the_same_data(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Batches of what was written part by part are those of the same examples in memory."""
    rng = np.random.default_rng(0)
    parts = [features(count, targets=rng.random((count, *shape), dtype=np.float32)) for count in (7, 1, 12)]
    mapped.once(tmp_path / "a", lambda: mapped.Encoded(("x", "y"), parts))
    found = mapped.dataset(tmp_path / "a", pad_id=9, per_token=False)
    whole = Dataset.of(
        [item for part in parts for item in part.inputs], np.concatenate([part.targets for part in parts]), pad_id=9
    )
    samples = np.array([3, 19, 0, 8])
    one, two = found.batch(samples, device=CPU), whole.batch(samples, device=CPU)
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(torch.as_tensor(one.labels), torch.as_tensor(two.labels))
    assert mapped.labels_of(tmp_path / "a") == ("x", "y")
    assert isinstance(found.ids, np.memmap)


def test_nothing_is_encoded_twice_and_nothing_half_counts(tmp_path: Path) -> None:
    """A finished folder is taken as it is; what broke in the middle leaves none, so that the next try begins anew."""

    def broken() -> Any:
        yield features(3)
        raise DataError("row 4 is bad")

    folder = tmp_path / "a"
    with pytest.raises(DataError, match="row 4"):
        mapped.once(folder, lambda: mapped.Encoded((), broken()))
    assert not folder.exists()
    mapped.once(folder, lambda: mapped.Encoded((), [features(3)]))

    def again() -> mapped.Encoded:
        raise AssertionError("encoded twice")

    mapped.once(folder, again)
    assert len(mapped.dataset(folder, pad_id=0, per_token=False)) == 3


def peak_of(folder: Path, rows: int) -> int:
    """Return the most bytes of Python and NumPy that encoding so many rows takes at once."""
    folder.mkdir()
    job = a_toy_job(folder)
    job["spec"]["data"]["maxSequenceLength"] = 64
    text = " ".join(["the cat sat very good dog ran"] * 9)
    write_rows(folder / "train.jsonl", [{"text": text, "label": ("good", "bad")[n % 2]} for n in range(rows)])
    parsed = parse_job(job, local=True)
    paths = inputs.locate(parsed, folder)
    config = BertConfig.from_dict(bert_config.read(paths.model))
    tracemalloc.start()
    try:
        found = inputs.encode(paths, parsed, config=config, folder=folder / "encoded")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.train) == rows
    return peak


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """Five times as many rows take less than twice the memory: two parts of them, and 16 bytes for each row."""
    small, large = (peak_of(tmp_path / str(rows), rows) for rows in (mapped.CHUNK, 5 * mapped.CHUNK))
    assert large < 2 * small, f"{small} and {large} bytes"


def test_examples_are_those_of_the_job(tmp_path: Path) -> None:
    """Labels that are found and labels that are given lead to the same data; bad rows are named as ever."""
    job = a_toy_job(tmp_path)
    parsed = parse_job(job, local=True)
    paths = inputs.locate(parsed, tmp_path)
    config = BertConfig.from_dict(bert_config.read(paths.model))
    found = inputs.encode(paths, parsed, config=config, folder=tmp_path / "found")
    job["spec"]["model"]["labels"] = ["bad", "good"]
    given = inputs.encode(paths, parse_job(job, local=True), config=config, folder=tmp_path / "given")
    assert found.labels == given.labels == ("bad", "good")
    assert np.array_equal(found.train.labels, given.train.labels)
    write_rows(tmp_path / "train.jsonl", [*toy_rows(3, seed=1), {"text": "a", "label": "ugly"}])
    with pytest.raises(DataError, match=r"train\.jsonl:4: .*'ugly'"):
        inputs.encode(paths, parse_job(job, local=True), config=config, folder=tmp_path / "bad")
