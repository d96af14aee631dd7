"""
What a copy of the training state costs the steps around it, beside ``torch.save`` in the loop. ``make bench-checkpoint``.

BERT-base with 32 x 128 tokens a step, in the loop that jobs run. Every few steps the way of saving changes, plain steps among
them, so that a machine whose speed changes changes it for all. What a way costs is how much longer its steps are than plain ones:
calls, waits, and what it takes from computing meanwhile.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.train import ours, workload
from benchmarks.train.workload import Size
from support.benching import Row, row, write
from support.learning import io_of
from torch import Tensor

from bertjob_api.manifest import CheckpointManifest
from bertjob_api.progress import Committed
from bertjob_storage import open_storage
from bertjob_tasks.encoding import Encoded
from bertjob_trainer import cadence, loop, optim, precision
from bertjob_trainer.checkpoint import Checkpoints
from bertjob_trainer.data import Dataset

WAYS = ("plain", "snapshot", "commit", "torch.save")
STEPS = 2
"""Of each way in a row; the first after a change is not counted: it pays for the way before it."""
TOKENS = 128
CPU = torch.device("cpu")
GOAL_COST, GOAL_RATIO = 2.0, 50.0


class Snapshots(Checkpoints):
    """Copies of which nothing is written."""

    def _write(self, header: CheckpointManifest, copying: "Future[dict[str, Tensor]]", *_: Any, **__: Any) -> Committed:
        copying.result()
        return Committed(step=header.step, uri="file:///none", time=time.time())


class Turns:
    """Saves each step in the way whose turn it is, or not at all."""

    committed = None

    def __init__(self, folder: Path) -> None:
        storage = open_storage("file://")
        self._file = folder / "state.pt"
        self._savers = {
            "snapshot": Snapshots(storage, f"file://{folder}/a", 1, 0, "a"),
            "commit": Checkpoints(storage, f"file://{folder}/b", 1, 0, "b"),
        }

    def enclose(self, records: Mapping[str, bytes]) -> None:
        """Leave the run's files out: they are small."""

    def save(self, state: Mapping[str, Tensor], meta: Mapping[str, Any], *, step: int, **counts: int) -> None:
        """Save as the turn wants it."""
        way = way_of(step)
        if way == "torch.save":
            torch.save(dict(state), self._file)
        elif way != "plain":
            self._savers[way].save(state, meta, step=step, **counts)

    def copied(self) -> None:
        """Wait for copies under way."""
        for each in self._savers.values():
            each.copied()

    def settle(self) -> None:
        """Wait for everything under way."""
        for each in self._savers.values():
            each.wait()


def way_of(step: int) -> str:
    """Return how step *step*, from 1, is saved: its cost falls on the next one."""
    return WAYS[(step // (STEPS + 1)) % len(WAYS)]


def measured(size: Size, *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of the steps of each way."""
    rng = np.random.default_rng(1)
    steps = rounds * len(WAYS) * (STEPS + 1)
    ids = [rng.integers(1000, 30_000, TOKENS, dtype=np.int32) for _ in range(size.batch * steps)]
    segments = np.zeros(TOKENS, dtype=np.int32)
    data = Dataset.of([Encoded(each, segments) for each in ids], rng.integers(0, 2, len(ids)), pad_id=0)
    order, state = ours.order_of(size, data, micro=size.batch), ours.state_of(size, CPU)
    config = loop.TrainConfig(
        order=order,
        schedule=optim.Schedule(peak=size.learning_rate, total_steps=order.total_steps, warmup_ratio=0.1),
        seed=size.seed,
        dtype=torch.bfloat16 if precision.has_bf16(CPU) else torch.float32,
    )
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="bertjob-bench-") as folder:
        turns = Turns(Path(folder))
        last = time.perf_counter()

        def report(step: loop.Step) -> None:
            nonlocal last
            now = time.perf_counter()
            # This step's save is in it, and what its predecessor's left to do.
            if way_of(step.step) == way_of(step.step - 1) and step.step > 1:
                found[way_of(step.step)].append(now - last)
                sys.stderr.write(f"step {step.step}: {way_of(step.step)}: {now - last:.3f} s\n")
            if way_of(step.step) != way_of(step.step + 1):
                turns.settle()  # the next way does not pay for this one's upload
            last = time.perf_counter()

        io = io_of(report=report, saves=turns, cadence=cadence.parse("1 steps"))
        loop.train(config, state, data, io)
        turns.settle()
    return found


def rows_of(seconds: Mapping[str, list[float]]) -> list[Row]:
    """Return the figures."""
    middle = {way: statistics.median(each) for way, each in seconds.items()}
    cost = {way: middle[way] - middle["plain"] for way in WAYS}
    # Never below a thousandth of a step: a ratio to noise would say nothing.
    ratio = cost["torch.save"] / max(cost["snapshot"], middle["plain"] / 1000)
    share = {way: 100 * cost[way] / middle["plain"] for way in WAYS}
    peers = {"torch.save": share["torch.save"]}
    return [
        row("step", "a step of 32 x 128 tokens, BERT-base, without saving", middle["plain"], "s", better="lower"),
        row(
            "snapshot",
            "cost of a snapshot every step",
            share["snapshot"],
            "%",
            better="lower",
            goal=GOAL_COST,
            peers=peers,
        ),
        row(
            "commit", "cost of a commit to a local folder every step", share["commit"], "%", better="lower", peers=peers
        ),
        row("stall", "torch.save's cost over a snapshot's, next step counted", ratio, "x", goal=GOAL_RATIO),
    ]


def main() -> None:
    """Measure, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="bench-checkpoint", description="What saving costs the steps around it.")
    parser.add_argument("--small", action="store_true", help="a tiny model, to try the benchmark")
    parser.add_argument("--rounds", type=int, default=4, help="how often each way has its turn (default: %(default)s)")
    given = parser.parse_args()
    seconds = measured(workload.SMALL if given.small else workload.BASE, rounds=given.rounds)
    write("checkpoint", rows_of(seconds), machine={"threads": torch.get_num_threads(), "small": given.small})


if __name__ == "__main__":
    main()
