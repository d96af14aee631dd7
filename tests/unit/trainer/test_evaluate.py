"""Outputs on held-out examples, whoever computes them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from support.learning import a_dataset, a_state

from bertjob_tasks.task import Reads
from bertjob_trainer.evaluate import predict
from bertjob_trainer.group import Alone, Group
from bertjob_trainer.machine import Machine


@dataclass(frozen=True)
class Share:
    """One of two processes whose sums are left to the test."""

    rank: int
    world: int = 2

    def sum(self, tensor: torch.Tensor) -> None:
        """Leave the share."""

    def broadcast(self, tensor: torch.Tensor) -> None:
        """Leave the tensor."""

    def barrier(self) -> None:
        """Wait for nobody."""


def machine(group: Group) -> Machine:
    """Return a CPU in full precision."""
    return Machine(device=torch.device("cpu"), dtype=torch.float32, group=group)


@pytest.mark.parametrize("reads", ["first", "tokens"])
def test_every_sample_is_computed_once_by_whom_its_turn_is(reads: Reads) -> None:
    """The shares of two processes add up to what one computes alone, unpadded, in the samples' order."""
    data, model = a_dataset(70), a_state(dropout=0.0, reads=reads).model
    if reads == "tokens":
        data = replace(data, labels=np.zeros(len(data.ids), dtype=np.int64), per_token=True)

    def computed(group: Group) -> list[Any]:
        return predict(model, data, machine(group), per_token=reads == "tokens")

    alone, shares = computed(Alone()), [computed(Share(rank)) for rank in (0, 1)]

    assert len(alone) == 70
    assert [output.shape[:-1] for output in alone] == [
        (length,) if reads == "tokens" else () for length in data.lengths.tolist()
    ]
    for whole, first, second in zip(alone, *shares, strict=True):
        assert not (np.any(first) and np.any(second))
        np.testing.assert_allclose(first + second, whole, atol=1e-6)
    batch = data.batch(np.array([69]), device=torch.device("cpu"))
    with torch.no_grad():
        expected = model(batch.ids, batch.type_ids, batch.mask)[0]
    np.testing.assert_allclose(alone[69], expected.numpy(), atol=1e-5)
