"""Our side: the loop that jobs run, without storage."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from benchmarks.train.workload import Size, Texts
from numpy.typing import NDArray
from support.learning import io_of

from bertjob_api.spec import Head
from bertjob_trainer import heads, loop, optim
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.data import Batch, Dataset
from bertjob_trainer.order import Order
from bertjob_trainer.state import TrainState


@dataclass(slots=True, kw_only=True)
class Run:
    """What one run gave."""

    seconds: float
    """Of all steps, data included."""
    losses: list[float]
    data_wait: float = 0.0
    """Share of the time in which batches were made."""


class Timed(Dataset):
    """A data set that says how long its batches took."""

    waited = 0.0

    def batch(self, samples: NDArray[np.int64], *, device: torch.device) -> Batch:
        """See ``Dataset.batch``."""
        started = time.perf_counter()
        found = super().batch(samples, device=device)
        Timed.waited += time.perf_counter() - started
        return found


def order_of(size: Size, data: Dataset, *, micro: int) -> Order:
    """Return one epoch."""
    return Order(seed=size.seed, epochs=1, batch_size=size.batch, micro_batch_size=micro, lengths=data.lengths)


def state_of(size: Size, device: torch.device) -> TrainState:
    """Return the random model before its first step."""
    model = heads.build(BertConfig.from_dict(size.config), num_labels=2, head=Head(), seed=size.seed)
    return TrainState.start(model.to(device), weight_decay=size.weight_decay)


def train(size: Size, texts: Texts, *, dtype: torch.dtype, micro: int, device: torch.device) -> Run:
    """Train one epoch."""
    plain = texts.dataset()
    data = Timed(
        ids=plain.ids, type_ids=plain.type_ids, offsets=plain.offsets, labels=plain.labels, pad_id=plain.pad_id
    )
    order, state = order_of(size, data, micro=micro), state_of(size, device)
    schedule = optim.Schedule(peak=size.learning_rate, total_steps=order.total_steps, warmup_ratio=0.1)
    config = loop.TrainConfig(order=order, schedule=schedule, seed=size.seed, dtype=dtype)
    run = Run(seconds=0.0, losses=[])

    def report(step: loop.Step) -> None:
        run.losses.append(step.loss)

    Timed.waited = 0.0
    started = time.perf_counter()
    loop.train(config, state, data, io_of(report=report, device=device))
    run.seconds = time.perf_counter() - started
    run.data_wait = Timed.waited / run.seconds
    return run
