"""
Every parallel strategy in four processes against one process: losses, whole states, and states left to another strategy.

``python parallel_worker.py FOLDER`` writes ``found.json`` there. The processes are forked, so that torch is loaded once.
"""

import json
import multiprocessing
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from support.learning import WORDS, a_dataset, a_state, an_order, io_of
from support.models import CONFIG
from torch import Tensor, distributed, nn

from bertjob_api.spec import Parallelism
from bertjob_tasks.masking import Pieces
from bertjob_tasks.task import IGNORED, Reads
from bertjob_trainer import loop, losses, masked_heads, optim
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.data import Dataset
from bertjob_trainer.group import Alone, Group, Together
from bertjob_trainer.hiding import Hiding
from bertjob_trainer.parallel import (  # loaded before the fork
    divided,  # noqa: F401
    pipeline,  # noqa: F401
    sharded,  # noqa: F401
    split_gradients,  # noqa: F401
    split_state,  # noqa: F401
    starting,
    tensor,  # noqa: F401
)
from bertjob_trainer.parallel.axes import axes_of
from bertjob_trainer.state import TrainState

WORLD: Final = 4
STEPS: Final = 20
HALF: Final = 10
MASKED: Final = ("masked", "masked-pairs")
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A grid and what is trained in it."""

    grid: Parallelism = Parallelism()  # noqa: RUF009  # frozen
    reads: Reads = "first"
    dropout: float = 0.0
    sums: torch.dtype = torch.float32


CASES: Final = {
    "data": Case(grid=Parallelism(data=4)),
    "tensor 2 x data 2": Case(grid=Parallelism(tensor=2)),
    "pipeline 2 x data 2": Case(grid=Parallelism(pipeline=2)),
    "fsdp 4": Case(grid=Parallelism(fsdp=4)),
    "fsdp 2 x data 2": Case(grid=Parallelism(fsdp=2, data=2)),
    "fsdp 3 and one that looks on": Case(grid=Parallelism(fsdp=3)),
    "pipeline of tokens": Case(grid=Parallelism(pipeline=2), reads="tokens"),
    "tensor with dropout": Case(grid=Parallelism(tensor=2), dropout=0.2),
    "data in bf16": Case(grid=Parallelism(data=4), sums=torch.bfloat16),
    "fsdp 2 x data 2 in bf16": Case(grid=Parallelism(fsdp=2), sums=torch.bfloat16),
    "tensor 2 x data 2, tied to the words": Case(grid=Parallelism(tensor=2), reads="masked"),
    "fsdp 4, tied to the words": Case(grid=Parallelism(fsdp=4), reads="masked"),
    "tensor 4, tied pairs": Case(grid=Parallelism(tensor=4), reads="masked-pairs"),
    "fsdp 2 x data 2, tied pairs": Case(grid=Parallelism(fsdp=2), reads="masked-pairs"),
}


def data_of(reads: Reads) -> Dataset:
    """Return samples with a class each, or with classes of about half of their tokens; of hidden ones the class is an order."""
    data = a_dataset()
    if reads == "first":
        return data
    if reads in MASKED:
        return replace(data, labels=data.labels % 2)
    rng = np.random.default_rng(7)
    targets = np.where(rng.random(len(data.ids)) < 0.5, IGNORED, rng.integers(0, 3, len(data.ids)))
    return replace(data, labels=targets, per_token=True)


def model_of(case: Case) -> nn.Module:
    """Return the tiny model before its first step; four heads, so that four processes can share them."""
    if case.reads not in MASKED:
        return a_state(dropout=case.dropout, reads=case.reads).model
    config = BertConfig.from_dict({**CONFIG, "vocab_size": WORDS, "num_attention_heads": 4}).with_dropout(case.dropout)
    return masked_heads.build(config, seed=1, with_order=case.reads == "masked-pairs")


def hiding_of(reads: Reads) -> Hiding | None:
    """Return what is hidden of the samples, which have words of the first half alone."""
    if reads not in MASKED:
        return None
    pieces = Pieces(mask_id=WORDS - 1, is_special=np.arange(WORDS) < 1, is_inner=np.zeros(WORDS, dtype=np.bool_))
    return Hiding(pieces=pieces, rate=0.3, whole_words=False, with_order=reads == "masked-pairs")


def state_of(case: Case, group: Group) -> TrainState:
    """Return the tiny model's first state in a grid."""
    model = model_of(case)
    axes = axes_of(case.grid, world=group.world)
    return starting.start(model, axes, group=group, device=CPU, weight_decay=0.01, sums=case.sums)


def trained(case: Case, state: TrainState, group: Group, *, until: int = STEPS) -> list[float]:
    """Train to so many steps and return the losses."""
    data = data_of(case.reads)
    order = an_order(data, epochs=STEPS // 5)
    schedule = optim.Schedule(peak=1e-3, total_steps=order.total_steps, warmup_ratio=0.2)
    config = loop.TrainConfig(
        order=order,
        schedule=schedule,
        seed=3,
        dtype=torch.float32,
        loss=losses.OF["words-and-order" if case.reads == "masked-pairs" else "classes"],
        hiding=hiding_of(case.reads),
        sums=case.sums,
    )
    found: list[float] = []
    io = io_of(group=group, report=lambda step: found.append(step.loss), is_stopped=lambda: state.step == until - 1)
    loop.train(config, state, data, io)
    return found


@cache
def alone(reads: Reads, dropout: float) -> tuple[list[float], Mapping[str, Tensor]]:
    """Return the losses of one process, and its state at half time."""
    case = Case(reads=reads, dropout=dropout)
    state = state_of(case, Alone())
    losses = trained(case, state, Alone(), until=HALF)
    halfway = {name: value.clone() for name, value in state.tensors().items()}
    return losses + trained(case, state, Alone()), halfway


def worst(values: list[float], expected: list[float]) -> float:
    """Return the largest difference."""
    assert len(values) == len(expected)
    return max(abs(value - other) for value, other in zip(values, expected, strict=True))


def deviation(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Return the largest difference, relative to the largest element of the same tensor."""
    assert state.keys() == expected.keys()
    # A key's bias changes nothing, so its gradient is rounding, which Adam blows up.
    names = [name for name in expected if not name.endswith("key.bias")]
    return max(float((state[name] - expected[name]).abs().max() / expected[name].abs().max()) for name in names)


def compared(case: Case, left: Mapping[str, Tensor] | None, group: Group) -> tuple[dict[str, float], Any]:
    """Return how far a case is from one process, and its state at half time; *left* is that of another case."""
    right, expected = alone(case.reads, case.dropout)
    state = state_of(case, group)
    before = trained(case, state, group, until=HALF)
    halfway = {name: value.clone() for name, value in state.gathered().items()}
    found = {"losses": worst(before + trained(case, state, group), right)}
    whole = {f"model.{name}": value for name, value in state.whole_model().state_dict().items()}
    ended = {name: value for name, value in state.gathered().items() if name in whole}
    if group.rank == 0:
        found["state"] = deviation(halfway, expected)
        found["whole model"] = deviation(whole, ended)
    if left is not None:
        other = state_of(case, group)
        other.fill(left if group.rank == 0 else None, HALF, group=group)
        found["resumed"] = worst(trained(case, other, group), right[HALF:])
    return found, halfway


def run(rank: int, folder: Path) -> None:
    """Be one of the processes."""
    store = distributed.FileStore(str(folder / "store"), WORLD)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=60))
    group = Together(rank, WORLD, lambda: False)
    found, left = {}, None
    for name, case in CASES.items():
        is_plain = case == Case(grid=case.grid)
        found[name], left = compared(case, left if is_plain else None, group)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


def main() -> None:
    """Fork, and end as the processes end."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(rank, Path(sys.argv[1]))) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in processes))


if __name__ == "__main__":
    main()
