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
from support.learning import a_dataset, a_state, an_order, io_of
from torch import Tensor, distributed

from bertjob_api.spec import Parallelism
from bertjob_tasks.task import IGNORED, Reads
from bertjob_trainer import loop, optim
from bertjob_trainer.data import Dataset
from bertjob_trainer.group import Alone, Group, Together
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
}


def data_of(reads: Reads) -> Dataset:
    """Return samples with a class each, or with classes of about half of their tokens."""
    data = a_dataset()
    if reads == "first":
        return data
    rng = np.random.default_rng(7)
    targets = np.where(rng.random(len(data.ids)) < 0.5, IGNORED, rng.integers(0, 3, len(data.ids)))
    return replace(data, labels=targets, per_token=True)


def state_of(case: Case, group: Group) -> TrainState:
    """Return the tiny model's first state in a grid."""
    model = a_state(dropout=case.dropout, reads=case.reads).model
    axes = axes_of(case.grid, world=group.world)
    return starting.start(model, axes, group=group, device=CPU, weight_decay=0.01, sums=case.sums)


def trained(case: Case, state: TrainState, group: Group, *, until: int = STEPS) -> list[float]:
    """Train to so many steps and return the losses."""
    data = data_of(case.reads)
    order = an_order(data, epochs=STEPS // 5)
    schedule = optim.Schedule(peak=1e-3, total_steps=order.total_steps, warmup_ratio=0.2)
    config = loop.TrainConfig(order=order, schedule=schedule, seed=3, dtype=torch.float32, sums=case.sums)
    losses: list[float] = []
    io = io_of(group=group, report=lambda step: losses.append(step.loss), is_stopped=lambda: state.step == until - 1)
    loop.train(config, state, data, io)
    return losses


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
    losses, expected = alone(case.reads, case.dropout)
    state = state_of(case, group)
    before = trained(case, state, group, until=HALF)
    halfway = {name: value.clone() for name, value in state.gathered().items()}
    found = {"losses": worst(before + trained(case, state, group), losses)}
    whole = {f"model.{name}": value for name, value in state.whole_model().state_dict().items()}
    ended = {name: value for name, value in state.gathered().items() if name in whole}
    if group.rank == 0:
        found["state"] = deviation(halfway, expected)
        found["whole model"] = deviation(whole, ended)
    if left is not None:
        other = state_of(case, group)
        other.fill(left if group.rank == 0 else None, HALF, group=group)
        found["resumed"] = worst(trained(case, other, group), losses[HALF:])
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
