"""The judge of disturbed training: the same job without disturbance, its samples and its weights."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from bertjob_api.job import parse_job
from bertjob_storage.local import LocalStorage
from bertjob_trainer import bert_config, inputs, ledger_files
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.ledger import Entry
from bertjob_trainer.order import Order


def planned(spec: dict[str, Any], scratch: Path) -> list[tuple[int, ...]]:
    """Return the samples of each step of a job on local files, from its data and its seed alone."""
    job = parse_job(spec, local=True)
    paths = inputs.locate(job, scratch)
    config = BertConfig.from_dict(bert_config.read(paths.model))
    examples = inputs.encode(paths, job, config=config, folder=scratch / "encoded-by-the-judge")
    training = job.spec.training
    order = Order(
        seed=training.seed,
        epochs=training.epochs,
        batch_size=training.batch_size,
        micro_batch_size=training.micro_batch_size,
        lengths=examples.train.lengths,
    )
    return [tuple(np.concatenate(order.micro_batches(step)).tolist()) for step in range(order.total_steps)]


def ledger_below(folder: Path) -> tuple[Entry, ...]:
    """Return the ledger of the only run below a folder."""
    storage = LocalStorage()
    return ledger_files.read(storage, ledger_files.find(storage, f"file://{folder}"))


def assert_equals_undisturbed(folder: Path, spec: dict[str, Any], *, steps: int | None = None) -> tuple[Entry, ...]:
    """
    Assert that the model below *folder* has trained on what the job says, each step once, and return its ledger.

    Args:
        folder: of the job's storage.
        spec: the job.
        steps: fewest steps that must be there; None: all of the job.

    """
    found, whole = ledger_below(folder), planned(spec, folder)
    assert len(found) >= (len(whole) if steps is None else steps)
    assert [entry.ids for entry in found] == whole[: len(found)]
    assert all(entry.is_proven for entry in found)
    return found


def distance(one: Path, other: Path) -> float:
    """Return the relative L2 distance of two published models: |a - b| / |b| over all weights."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    apart = sum(float((first[name] - second[name]).double().square().sum()) for name in second)
    size = sum(float(tensor.double().square().sum()) for tensor in second.values())
    return float(torch.tensor(apart / size).sqrt())
