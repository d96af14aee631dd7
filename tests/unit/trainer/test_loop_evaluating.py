"""The training loop with evaluations: early end, best model, and what a kill between any two steps leaves."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from support.learning import Saved, a_dataset, a_state, an_order, io_of

from bertjob_trainer import loop, optim
from bertjob_trainer.evaluations import Watch
from bertjob_trainer.group import PeerLostError
from bertjob_trainer.loop import Io, TrainConfig
from bertjob_trainer.state import TrainState

DATA = a_dataset()
ACCURACY = {0: 0.1, 2: 0.5, 4: 0.7, 6: 0.6, 8: 0.65, 10: 0.7, 12: 0.8, 14: 0.8, 15: 0.9}
"""Of the model of each step, as if it were measured."""
STOPPING = Watch(every=2, total=15, best="accuracy", stopping="accuracy", patience=3)


def config_of(watch: Watch) -> TrainConfig:
    """Return a run of 15 steps."""
    order = an_order(DATA, epochs=3)
    schedule = optim.Schedule(peak=1e-3, total_steps=order.total_steps, warmup_ratio=0.2)
    return TrainConfig(order=order, schedule=schedule, seed=3, dtype=torch.float32, watch=watch)


def watching(state: TrainState, io: Io, *, evaluate: Callable[[], Mapping[str, float]] | None = None) -> Io:
    """Return *io* with an evaluation that looks the state's step up."""

    def look_up() -> Mapping[str, float]:
        state.model.eval()
        return {"accuracy": ACCURACY[state.step]}

    return replace(io, evaluate=evaluate or look_up)


def test_training_ends_early_and_saves_the_best_only() -> None:
    """After three evaluations without improvement the end is reached; each improvement was saved and pinned, nothing else was."""
    state, saves = a_state(dropout=0.1), Saved()

    finished = loop.train(config_of(STOPPING), state, DATA, watching(state, io_of(saves=saves)))

    assert finished
    assert state.step == 10
    assert [(step, meta["pinned"]) for step, _, meta in saves.states] == [(2, [2]), (4, [4])]
    assert [each.step for each in state.course.evaluations] == [0, 2, 4, 6, 8, 10]


def test_evaluation_changes_nothing_that_is_learnt() -> None:
    """The same weights come out bit for bit, with and without evaluations."""
    plain, watched = a_state(dropout=0.1), a_state(dropout=0.1)
    loop.train(config_of(Watch()), plain, DATA, io_of())
    loop.train(config_of(Watch(every=2, total=15)), watched, DATA, watching(watched, io_of()))

    assert watched.step == 15
    assert all(torch.equal(tensor, watched.tensors()[name]) for name, tensor in plain.tensors().items())


def test_end_is_the_same_wherever_training_was_killed() -> None:
    """From every state that was saved, with the course of its time, a fresh process makes the same decisions and weights."""
    state, saves = a_state(dropout=0.1), Saved()
    config = config_of(STOPPING)
    for limit in range(10):

        def is_stopped(limit: int = limit) -> bool:
            return state.step >= limit

        loop.train(config, state, DATA, watching(state, io_of(saves=saves, is_stopped=is_stopped)))
    assert loop.train(config, state, DATA, watching(state, io_of(saves=saves)))

    assert [step for step, _, _ in saves.states][-1] == 10
    for _, tensors, meta in saves.states:
        again = a_state(dropout=0.1, seed=99)
        again.restore(tensors, meta)
        assert loop.train(config, again, DATA, watching(again, io_of()))
        assert again.course.evaluations == state.course.evaluations
        assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in state.tensors().items())


def test_lost_peer_during_an_evaluation_loses_no_step() -> None:
    """The state of the step before the evaluation is rescued, and the next process evaluates it."""
    state, rescues = a_state(dropout=0.0), Saved()

    def lose() -> Mapping[str, float]:
        if state.step == 4:
            raise PeerLostError("gone")
        return {"accuracy": 0.5}

    with pytest.raises(PeerLostError):
        loop.train(config_of(STOPPING), state, DATA, watching(state, io_of(rescues=rescues), evaluate=lose))

    ((step, tensors, meta),) = rescues.states
    assert step == 4
    again = a_state(dropout=0.0, seed=99)
    again.restore(tensors, meta)
    loop.train(config_of(STOPPING), again, DATA, watching(again, io_of()))
    assert [each.step for each in again.course.evaluations][:3] == [0, 2, 4]


def test_unknown_metric_ends_before_the_first_step() -> None:
    """A typing mistake in the job does not cost an epoch."""
    state = a_state(dropout=0.0)

    with pytest.raises(ValueError, match=r"checkpoint.best: got 'f1', expected one of accuracy"):
        loop.train(config_of(Watch(every=2, total=15, best="f1")), state, DATA, watching(state, io_of()))

    assert state.step == 0
