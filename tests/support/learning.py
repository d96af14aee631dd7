"""A tiny model, data and connections for tests of the training loop."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from support.models import CONFIG
from torch import Tensor

from bertjob_api.progress import Committed
from bertjob_api.spec import Head
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.task import Reads
from bertjob_trainer import heads
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.cadence import Cadence, parse
from bertjob_trainer.data import Dataset
from bertjob_trainer.group import Alone, Group
from bertjob_trainer.loop import Io, Step
from bertjob_trainer.order import Order
from bertjob_trainer.saving import Saves
from bertjob_trainer.state import TrainState

WORDS: Final = 50


class Saved:
    """Keeps every saved state in memory."""

    def __init__(self) -> None:
        self.states: list[tuple[int, dict[str, Tensor], dict[str, Any]]] = []
        self.records: list[dict[str, bytes]] = []
        self.committed: Committed | None = None

    def enclose(self, records: Mapping[str, bytes]) -> None:
        """Keep the records."""
        self.records.append(dict(records))

    def save(
        self,
        state: Mapping[str, Tensor],
        meta: Mapping[str, Any],
        *,
        step: int,
        total_steps: int,  # noqa: ARG002
        world_size: int,  # noqa: ARG002
        samples_seen: int,  # noqa: ARG002
    ) -> None:
        """Copy the state."""
        self.states.append((step, {name: tensor.clone() for name, tensor in state.items()}, dict(meta)))


def a_dataset(count: int = 37) -> Dataset:
    """Return samples of 3 to 12 tokens of the first half of the words, in three classes."""
    rng = np.random.default_rng(5)
    inputs = []
    for _ in range(count):
        length = int(rng.integers(3, 13))
        inputs.append(
            Encoded(rng.integers(1, WORDS // 2, size=length, dtype=np.int32), np.zeros(length, dtype=np.int32))
        )
    return Dataset.of(inputs, rng.integers(0, 3, size=count), pad_id=0)


def an_order(data: Dataset, *, epochs: int) -> Order:
    """Return steps of 8 samples in micro-batches of 2."""
    return Order(seed=3, epochs=epochs, batch_size=8, micro_batch_size=2, lengths=data.lengths)


def a_state(*, dropout: float, seed: int = 1, reads: Reads = "first") -> TrainState:
    """Return a tiny classifier before its first step."""
    config = BertConfig.from_dict({**CONFIG, "vocab_size": WORDS}).with_dropout(dropout)
    return TrainState.start(heads.build(config, num_labels=3, head=Head(), seed=seed, reads=reads), weight_decay=0.01)


def io_of(
    *,
    saves: Saves | None = None,
    rescues: Saves | None = None,
    cadence: Cadence | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    report: Callable[[Step], None] = lambda _: None,
    group: Group | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008  # a value
) -> Io:
    """Return connections of a process that is alone unless *group* is given."""
    return Io(
        group=group or Alone(),
        device=device,
        cadence=cadence or parse("1000 steps"),
        saves=saves,
        rescues=rescues,
        is_stopped=is_stopped,
        report=report,
    )
