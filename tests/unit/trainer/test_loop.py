"""The training loop in one process, against plain torch and against itself."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.learning import WORDS, Saved, a_dataset, a_state, an_order, io_of

from bertjob_api.manifest import CorruptError
from bertjob_tasks.task import IGNORED
from bertjob_trainer import loop, optim
from bertjob_trainer.cadence import parse
from bertjob_trainer.data import Dataset
from bertjob_trainer.group import PeerLostError
from bertjob_trainer.loop import TrainConfig
from bertjob_trainer.parallel.strategy import dropout_seed
from bertjob_trainer.signals import NonFiniteLossError
from bertjob_trainer.state import TrainState

CPU = torch.device("cpu")


def config_of(data: Dataset, *, epochs: int = 2) -> TrainConfig:
    """Return a run of 5 steps an epoch with a warm-up."""
    order = an_order(data, epochs=epochs)
    schedule = optim.Schedule(peak=1e-3, total_steps=order.total_steps, warmup_ratio=0.2)
    return TrainConfig(order=order, schedule=schedule, seed=3, dtype=torch.float32)


def weights_of(state: TrainState) -> dict[str, torch.Tensor]:
    """Return copies of the whole state."""
    return {name: tensor.clone() for name, tensor in state.tensors().items()}


def test_steps_are_those_of_plain_torch() -> None:
    """Accumulated micro-batches, flat gradients and row-wise word gradients give plain torch's weights and losses."""
    data, losses = a_dataset(), []
    config, state = config_of(data), a_state(dropout=0.0)
    loop.train(config, state, data, io_of(report=lambda step: losses.append(step.loss)))

    reference = a_state(dropout=0.0)
    expected = [_plain_step(reference, data, config, step) for step in range(config.order.total_steps)]

    assert losses == pytest.approx(expected, abs=1e-5)
    for name, tensor in reference.tensors().items():
        torch.testing.assert_close(state.tensors()[name], tensor, atol=1e-5, rtol=1e-4, msg=name)


def _plain_step(state: TrainState, data: Dataset, config: TrainConfig, step: int) -> float:
    samples = np.sort(np.concatenate(config.order.micro_batches(step)))
    batch = data.batch(samples, device=CPU)
    state.model.train()
    state.optimizer.zero_grad(set_to_none=True)  # before forward: without a gradient, words take torch's own way
    loss = torch.nn.functional.cross_entropy(state.model(batch.ids, batch.type_ids, batch.mask), batch.labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), optim.MAX_NORM)
    for group in state.optimizer.param_groups:
        group["lr"] = optim.lr_at(step, schedule=config.schedule)
    state.optimizer.step()
    return float(loss.detach())


def test_loss_of_tokens_does_not_depend_on_micro_batches() -> None:
    """The mean is over the targets of the global batch, however many of them a micro-batch has."""
    data, losses = a_dataset(40), list[list[float]]()
    rng = np.random.default_rng(7)
    targets = np.where(rng.random(len(data.ids)) < 0.4, IGNORED, rng.integers(0, 3, len(data.ids)))
    data = replace(data, labels=targets, per_token=True)
    for size in (2, 8):
        seen: list[float] = []
        order = replace(an_order(data, epochs=4), batch_size=40, micro_batch_size=size)  # each step has all samples
        state, config = a_state(dropout=0.0, reads="tokens"), replace(config_of(data), order=order)
        loop.train(config, state, data, io_of(report=lambda step, seen=seen: seen.append(step.loss)))
        losses.append(seen)

    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_resumed_run_is_the_unbroken_run_bit_for_bit() -> None:
    """State saved at any step, restored into a fresh process, ends in the same bits, dropout included."""
    data = a_dataset()
    config, saves = config_of(data), Saved()
    state = a_state(dropout=0.1)
    loop.train(config, state, data, io_of(saves=saves, cadence=parse("3 steps")))
    assert [step for step, _, _ in saves.states] == [3, 6, 9]

    for _, tensors, meta in saves.states:
        again = a_state(dropout=0.1, seed=99)
        again.restore(tensors, meta)
        loop.train(config, again, data, io_of())

        assert all(torch.equal(tensor, state.tensors()[name]) for name, tensor in again.tensors().items())


def test_stop_saves_the_newest_step_and_ends() -> None:
    """Asked to stop, the loop finishes its step, saves it and says that the end was not reached."""
    data, saves = a_dataset(), Saved()
    state = a_state(dropout=0.1)

    finished = loop.train(config_of(data), state, data, io_of(saves=saves, is_stopped=lambda: state.step == 3))

    assert not finished
    assert state.step == 4
    assert [step for step, _, _ in saves.states] == [4]


def test_stop_in_the_last_step_is_the_end() -> None:
    """A request that comes with the last step does not throw the finished model away."""
    data = a_dataset()
    config, state = config_of(data), a_state(dropout=0.1)

    assert loop.train(config, state, data, io_of(is_stopped=lambda: state.step == config.order.total_steps - 1))


def test_loss_that_is_not_finite_stops_before_the_step() -> None:
    """Step and rank are named and the weights stay those of the step before."""
    data = a_dataset()
    state = a_state(dropout=0.0)
    before = weights_of(state)
    with torch.no_grad():
        state.model.classifier.bias[0] = float("nan")

    with pytest.raises(NonFiniteLossError, match=r"step 1: the loss is not finite on rank 0.*learningRate") as caught:
        loop.train(config_of(data), state, data, io_of())

    assert (caught.value.step, caught.value.rank, state.step) == (1, 0, 0)
    words = "model.bert.embeddings.word_embeddings.weight"
    assert torch.equal(state.tensors()[words], before[words])


def test_divergence_leaves_the_checkpoints_before_it() -> None:
    """When the loss becomes NaN in the middle, what was saved is finite and nothing is saved any more."""
    data, saves = a_dataset(), Saved()
    state = a_state(dropout=0.0)

    def poison(step: loop.Step) -> None:
        if step.step == 5:
            with torch.no_grad():
                state.model.classifier.bias[0] = float("nan")

    with pytest.raises(NonFiniteLossError, match="step 6"):
        loop.train(config_of(data), state, data, io_of(saves=saves, cadence=parse("2 steps"), report=poison))

    assert [step for step, _, _ in saves.states] == [2, 4]
    assert all(tensor.isfinite().all() for _, tensors, _ in saves.states for tensor in tensors.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda saved: saved.update({"model.classifier.bias": torch.zeros(5)}), r"classifier.bias has shape \(5,\)"),
        (
            lambda saved: saved.pop("model.classifier.bias"),
            "has other tensors than the model, such as model.classifier",
        ),
    ],
    ids=["shape", "names"],
)
def test_state_of_another_model_is_refused(change: Callable[[dict[str, torch.Tensor]], None], words: str) -> None:
    """One sentence names the tensor, and the state stays as it was."""
    state = a_state(dropout=0.0)
    before, saved = weights_of(state), {name: tensor + 1 for name, tensor in state.tensors().items()}
    change(saved)

    with pytest.raises(CorruptError, match=words):
        state.restore(saved, {"step": 7})

    assert state.step == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())


def test_half_precision_follows_full_precision() -> None:
    """Forward and backward in bf16 give nearly the losses of fp32; weights and optimizer stay fp32."""
    data = a_dataset()
    losses: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for dtype, seen in losses.items():
        state = a_state(dropout=0.1)
        config = replace(config_of(data), dtype=dtype)
        loop.train(config, state, data, io_of(report=lambda step, seen=seen: seen.append(step.loss)))
        assert {tensor.dtype for tensor in state.tensors().values()} == {torch.float32}

    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=0.02)
    assert losses[torch.bfloat16] != losses[torch.float32]


def test_dropout_depends_on_the_micro_batch_and_not_on_what_ran_before() -> None:
    """Seeds of micro-batches differ from each other and are fixed."""
    seeds = {dropout_seed(1, step, index) for step in range(50) for index in range(50)}

    assert len(seeds) == 2500
    assert dropout_seed(1, 2, 3) == dropout_seed(1, 2, 3)


def test_word_gradients_touch_only_words_of_the_data() -> None:
    """Words that never occur keep their weights but for decay, as in plain torch."""
    data = a_dataset()
    state = a_state(dropout=0.0)
    unused = next(word for word in range(WORDS) if word not in data.words_of(np.arange(len(data))))
    before = state.model.bert.embeddings.word_embeddings.weight[unused].clone()

    loop.train(config_of(data, epochs=1), state, data, io_of())

    after = state.model.bert.embeddings.word_embeddings.weight[unused]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=0.0)
    assert state.optimizer.state[state.model.bert.embeddings.word_embeddings.weight]["exp_avg"][unused].eq(0).all()


class Losing:
    """A group whose other process is lost at the third step."""

    rank, world = 1, 2

    def __init__(self) -> None:
        self._sums = 0

    def sum(self, tensor: torch.Tensor) -> None:
        """Fail in the fifth of two sums a step, as if the other process gave nothing until then."""
        self._sums += 1
        tensor.mul_(float("nan") if self._sums == 5 else 1.0)
        if self._sums == 5:
            raise PeerLostError("gone")

    def broadcast(self, tensor: torch.Tensor, *, source: int = 0) -> None:
        """Leave the tensor."""

    def barrier(self) -> None:
        """Wait for nobody."""


def test_state_is_rescued_when_another_process_is_lost() -> None:
    """A survivor saves the last whole step, untouched by the sum that broke off, and the loss ends it."""
    data, rescues = a_dataset(), Saved()
    state = a_state(dropout=0.0)

    with pytest.raises(PeerLostError):
        loop.train(config_of(data), state, data, io_of(rescues=rescues, group=Losing()))

    ((step, tensors, meta),) = rescues.states
    assert (step, meta["step"]) == (2, 2)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
