"""The same model whatever the number of processes: one run in many sequences of worlds."""

import torch
from support.learning import a_dataset, a_state, an_order, io_of
from support.lockstep import InTurn, together

from bertjob_trainer import loop, optim
from bertjob_trainer.loop import TrainConfig
from bertjob_trainer.state import TrainState

STEPS = 20
DATA = a_dataset()
ORDER = an_order(DATA, epochs=4)
CONFIG = TrainConfig(
    order=ORDER,
    schedule=optim.Schedule(peak=1e-4, total_steps=ORDER.total_steps, warmup_ratio=0.1),
    seed=3,
    dtype=torch.float32,
)


def trained(*worlds: tuple[int, int]) -> TrainState:
    """Return the state after worlds of so many processes have trained for so many steps each, with dropout."""
    lead = a_state(dropout=0.1)
    for world, steps in worlds:
        run_world(lead, world, until=lead.step + steps)
    assert lead.step == STEPS == ORDER.total_steps
    return lead


def run_world(lead: TrainState, world: int, *, until: int) -> None:
    """Train *lead* and *world* - 1 copies of it together up to a step."""
    tensors, meta = {name: tensor.clone() for name, tensor in lead.tensors().items()}, lead.meta()

    def work(group: InTurn) -> None:
        own = lead if group.rank == 0 else a_state(dropout=0.1)
        if group.rank != 0:
            own.restore(tensors, meta)
        loop.train(CONFIG, own, DATA, io_of(group=group, is_stopped=lambda: own.step == until - 1))

    together(world, work)


def distance(one: TrainState, other: TrainState) -> float:
    """Return the relative L2 distance of two models' weights."""
    pairs = list(zip(one.model.parameters(), other.model.parameters(), strict=True))
    apart = sum(float((a - b).detach().double().square().sum()) for a, b in pairs)
    return float((apart / sum(float(b.detach().double().square().sum()) for _, b in pairs)) ** 0.5)


def test_same_worlds_give_the_same_bits() -> None:
    """Two runs with the same number of processes at each step end with the same weights and moments, bit for bit."""
    one, two = (trained((2, 6), (1, 5), (3, 9)) for _ in range(2))
    assert all(torch.equal(tensor, two.tensors()[name]) for name, tensor in one.tensors().items())


def test_other_worlds_differ_by_rounding_only() -> None:
    """After 20 steps through kills and resizes the weights are within 1e-6 of one process's, and the samples are the same."""
    alone, resized = trained((1, STEPS)), trained((4, 5), (2, 5), (6, 10))
    assert distance(resized, alone) <= 1e-6
    assert resized.ledger.head == alone.ledger.head
    assert {entry.world for entry in resized.ledger.entries} == {2, 4, 6}  # nothing was committed, so all are kept
    assert all(entry.is_proven for entry in resized.ledger.entries)
