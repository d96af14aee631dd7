"""
How fast a BERT is trained, beside ``transformers.Trainer`` on the same work. ``make bench-train``.

Every round runs each side once, so that a machine whose speed changes changes it for all; ratios are medians over rounds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from benchmarks.train import ours, peer, workload
from benchmarks.train.workload import Size, Texts
from support.benching import Row, row, write

from bertjob_trainer import precision

GOALS: Final = {
    "fp32, padded to 128": 12.0,
    "bf16, dynamic padding": 2.0,
    "bf16, dynamic padding, group_by_length": 1.4,
}
CPU: Final = torch.device("cpu")


def main() -> None:
    """Measure, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="bench-train", description="Compare training speed with transformers.Trainer."
    )
    parser.add_argument("--small", action="store_true", help="a tiny model and few texts, to try the benchmark")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs")
    parser.add_argument("--micro-batch", type=int, default=32, help="samples of one forward pass on our side")
    given = parser.parse_args()
    size = workload.SMALL if given.small else workload.BASE
    texts = workload.texts(size)
    dtype = torch.bfloat16 if precision.has_bf16(CPU) else torch.float32
    seconds, runs = _rounds(size, texts, dtype=dtype, micro=given.micro_batch, rounds=given.rounds)
    rows = [
        *_ratios(seconds, texts, roof=_roof_seconds(size, texts, dtype)),
        row(
            "data-wait",
            "our share of time in which batches are made",
            100 * runs[-1].data_wait,
            "%",
            better="lower",
            goal=1.0,
        ),
        _same_loss(size, texts, micro=given.micro_batch),
        *_on_gpu(),
    ]
    path = write("train", rows, machine=_machine(texts, dtype, small=given.small))
    sys.stdout.write(f"{path}\n")


def _rounds(
    size: Size, texts: Texts, *, dtype: torch.dtype, micro: int, rounds: int
) -> tuple[Mapping[str, list[float]], list[ours.Run]]:
    """Return the seconds of each side in each round, and our runs."""
    sides: dict[str, Callable[[], ours.Run]] = {
        "ours": lambda: ours.train(size, texts, dtype=dtype, micro=micro, device=CPU),
        **{way.name: lambda way=way: peer.train(size, texts, way) for way in peer.WAYS},
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    runs = []
    for number in range(rounds):
        for name, side in sides.items():
            run = side()
            seconds[name].append(run.seconds)
            runs += [run] if name == "ours" else []
            sys.stderr.write(f"round {number + 1}: {name}: {run.seconds:.2f} s\n")
    return seconds, runs


def _ratios(seconds: Mapping[str, list[float]], texts: Texts, *, roof: float) -> list[Row]:
    """Return our rate, and how much faster than each way of the Trainer we are."""
    best = min(seconds["ours"])
    rows = [
        row(
            "tokens-per-second",
            f"real tokens trained, {texts.source}",
            texts.tokens / statistics.median(seconds["ours"]),
            "tokens/s",
            peers={name: texts.tokens / statistics.median(each) for name, each in seconds.items() if name != "ours"},
            roof=texts.tokens / roof,
        )
    ]
    for way in peer.WAYS:
        ratios = [theirs / mine for theirs, mine in zip(seconds[way.name], seconds["ours"], strict=True)]
        rows.append(
            row(
                f"speedup-{way.name.replace(', ', '-').replace(' ', '-')}",
                f"times faster than transformers.Trainer, {way.name}",
                statistics.median(ratios),
                "x",
                goal=GOALS.get(way.name),
                peers={"Trainer, fastest run over our fastest": min(seconds[way.name]) / best},
                roof=statistics.median(seconds[way.name]) / roof,
            )
        )
    return rows


def _same_loss(size: Size, texts: Texts, *, micro: int) -> Row:
    """Return how far the losses of both sides are apart, given the same samples in the same order, in fp32 without dropout."""
    mine = ours.train(size, texts, dtype=torch.float32, micro=micro, device=CPU)
    order = ours.order_of(size, texts.dataset(), micro=micro)
    samples = np.concatenate([np.concatenate(order.micro_batches(step)) for step in range(order.total_steps)])
    theirs = peer.train(size, texts, peer.WAYS[1], samples=samples.tolist(), steps_log=True)
    assert len(mine.losses) == len(theirs.losses)
    worst = max(abs(one - other) for one, other in zip(mine.losses, theirs.losses, strict=True))
    final = abs(mine.losses[-1] - theirs.losses[-1])
    peers = {"largest difference of any step": worst, "final loss, Trainer": theirs.losses[-1]}
    return row(
        "same-loss", "difference of the final loss, fp32, same order", final, "", better="lower", goal=1e-3, peers=peers
    )


def _roof_seconds(size: Size, texts: Texts, dtype: torch.dtype) -> float:
    """
    Return how long one epoch would take if nothing but its matrix products ran, at the speed of a large one, padding left out.

    Forward and backward of a weight of n numbers are 6 n operations for each token; attention is left out.
    """
    config = size.config
    layer = 4 * config["hidden_size"] ** 2 + 2 * config["hidden_size"] * config["intermediate_size"]
    return 6 * config["num_hidden_layers"] * layer * texts.tokens / _operations_per_second(dtype)


def _operations_per_second(dtype: torch.dtype) -> float:
    a, b = (torch.randn(1536, 1536).to(dtype) for _ in range(2))
    a @ b
    best = float("inf")
    ends = time.perf_counter() + 2.0
    while time.perf_counter() < ends:
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * 1536**3 / best


def _on_gpu() -> list[Row]:
    """Return the figures on a GPU; none is there: say so."""
    if not torch.cuda.is_available():
        sys.stderr.write("GPU: skipped, torch sees no CUDA device\n")
        return []
    from benchmarks.train import gpu  # noqa: PLC0415

    return gpu.rows()


def _machine(texts: Texts, dtype: torch.dtype, *, small: bool) -> dict[str, Any]:
    """Return what the figures depend on; printed too, since goals for bf16 mean hardware that has it."""
    known = {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "bf16": precision.has_bf16(CPU),
        "ours": str(dtype).removeprefix("torch."),
        "size": "small" if small else "BERT-base",
        "fill of 128": round(texts.fill, 3),
    }
    sys.stdout.write(f"{known}\n")
    if not known["bf16"]:
        sys.stdout.write(
            "this CPU has no bf16 arithmetic: our side computes in fp32, and the Trainer's bf16 is emulated\n"
        )
    return known


if __name__ == "__main__":
    main()
