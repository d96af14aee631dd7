"""The same comparison on one GPU; run only where torch sees one."""

import statistics
from dataclasses import replace

import torch
from benchmarks.train import ours, peer, workload
from support.benching import Row, row

_SIZE = replace(workload.BASE, samples=16_384, batch=512)
_ROUNDS = 3


def rows() -> list[Row]:
    """Return our rate, and how much faster than the Trainer in bf16 we are."""
    device = torch.device("cuda", 0)
    texts = workload.texts(_SIZE)
    way = peer.WAYS[3]
    mine, theirs = [], []
    for number in range(_ROUNDS + 1):
        run = ours.train(_SIZE, texts, dtype=torch.bfloat16, micro=_SIZE.batch, device=device)
        torch.cuda.synchronize()
        other = peer.train(_SIZE, texts, way)
        if number > 0:  # the first one warms up
            mine.append(run.seconds)
            theirs.append(other.seconds)
    name = torch.cuda.get_device_name(device)
    ratio = statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
    rate = texts.tokens / statistics.median(mine)
    return [
        row("gpu-speedup", f"times faster than transformers.Trainer, {way.name}, {name}", ratio, "x", goal=4.0),
        row(
            "gpu-tokens-per-second",
            f"real tokens trained, BERT-base, {texts.source}, {name}",
            rate,
            "tokens/s",
            goal=1e6,
        ),
    ]
