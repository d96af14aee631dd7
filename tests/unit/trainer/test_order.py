"""The order of the data: a pure function of seed and step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertjob_trainer.order import WINDOW_STEPS, Order, dealt, epoch_order

FIRST = [8, 7, 5, 9, 0, 6, 2, 3, 4, 1]
"""The first ten samples of seed 42."""

orders = st.builds(
    lambda seed, epochs, micro, per_step, lengths: Order(
        seed=seed,
        epochs=epochs,
        batch_size=micro * per_step,
        micro_batch_size=micro,
        lengths=np.array(lengths, dtype=np.int64),
    ),
    st.integers(0, 2**31 - 1),
    st.integers(1, 2),
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.integers(1, 128), min_size=1, max_size=300),
)


@given(orders, st.integers(1, 7))
def test_every_sample_trains_once_per_epoch_for_any_number_of_processes(order: Order, world: int) -> None:
    """Over all processes of any world, an epoch's samples are each seen once."""
    for epoch in range(order.epochs):
        seen = []
        for step in range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch):
            micro_batches = order.micro_batches(step)
            for rank in range(world):
                for index in dealt(len(micro_batches), rank=rank, world=world):
                    seen.extend(micro_batches[index].tolist())

        assert sorted(seen) == list(range(order.num_samples))


@given(orders)
def test_steps_are_full_but_the_last_of_an_epoch(order: Order) -> None:
    """The global batch has its size in every step but the epoch's last, and micro-batches are full but the last."""
    for step in range(order.total_steps):
        sizes = [len(samples) for samples in order.micro_batches(step)]

        is_last = step % order.steps_per_epoch == order.steps_per_epoch - 1
        assert sum(sizes) == order.batch_size or (is_last and 0 < sum(sizes) < order.batch_size)
        assert all(size == order.micro_batch_size for size in sizes[:-1])


@given(orders)
def test_samples_before_a_step_are_those_of_the_steps_before(order: Order) -> None:
    """The count in a checkpoint's manifest is the number of samples that really went into it."""
    count = 0
    for step in range(order.total_steps):
        assert order.samples_before(step) == count
        count += sum(map(len, order.micro_batches(step)))

    assert order.samples_before(order.total_steps) == count


def test_order_is_fixed_for_ever() -> None:
    """A checkpoint of an older version resumes on the same samples: these numbers may never change."""
    assert epoch_order(42, 0, 10).tolist() == epoch_order(42, 0, 10).tolist()
    assert epoch_order(42, 0, 10).tolist() == FIRST
    assert epoch_order(42, 1, 10).tolist() != FIRST
    assert epoch_order(43, 0, 10).tolist() != FIRST


def test_like_lengths_share_a_micro_batch() -> None:
    """Hardly anything is padded, and no step has only short or only long texts."""
    lengths = np.random.default_rng(0).integers(4, 128, size=32 * WINDOW_STEPS)
    order = Order(seed=1, epochs=1, batch_size=32, micro_batch_size=8, lengths=lengths)

    steps = [order.micro_batches(step) for step in range(order.total_steps)]

    padded = sum(len(samples) * lengths[samples].max() for step in steps for samples in step)
    assert padded / lengths.sum() < 1.1
    costs = [sum(lengths[samples].sum() for samples in step) for step in steps]
    assert max(costs) / min(costs) < 1.3


def test_dealing_balances_the_longest_with_the_shortest() -> None:
    """Of four micro-batches, the longest first, two processes get the outer and the inner ones."""
    assert [dealt(4, rank=rank, world=2) for rank in range(2)] == [(0, 3), (1, 2)]
    assert [dealt(3, rank=rank, world=4) for rank in range(4)] == [(0,), (1,), (2,), ()]
