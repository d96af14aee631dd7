"""What agent and workers say to each other between rounds, and who gives the state to whom."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
import torch
from support.learning import a_state
from torch import Tensor

from bertjob_trainer.elastic.places import Free, Place, Places
from bertjob_trainer.group import PeerLostError
from bertjob_trainer.memory import Memory
from bertjob_trainer.resume import from_survivor
from bertjob_trainer.staying import Stay
from bertjob_trainer.stop import Stop

CPU = torch.device("cpu")
LEDGER = b'{"head":"ab","entries":[]}'


def a_place(round_: int) -> Place:
    """Return a place in a round."""
    return Place(round=round_, rank=1, world=3, local_world=1, address="127.0.0.1:1")


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    """Before the first word there is no place, no call and nobody is free."""
    places = Places(tmp_path)
    assert (places.place(0), places.called(1), places.free(0, pid=1, round_=1)) == (None, None, None)
    assert places.silence_s(1) == 0


def test_words_arrive(tmp_path: Path) -> None:
    """What one side says the other side reads, of this round and of this process only."""
    one, other = Places(tmp_path), Places(tmp_path)
    one.give(0, a_place(4))
    one.call(4, lost=True)
    other.say_free(0, Free(pid=7, round=4, lost=False))
    assert other.place(0) == a_place(4)
    call = other.called(4)
    assert call is not None
    assert call.lost
    assert other.called(5) is None
    assert one.free(0, pid=7, round_=4) == Free(pid=7, round=4, lost=False)
    assert one.free(0, pid=8, round_=4) is None
    assert one.free(0, pid=7, round_=5) is None


def test_silence_is_measured_from_the_last_beat(tmp_path: Path) -> None:
    """A process that beat an hour ago is silent for an hour."""
    places = Places(tmp_path)
    places.beat(7)
    hour_ago = (tmp_path / "beat-7").stat().st_mtime - 3600
    os.utime(tmp_path / "beat-7", (hour_ago, hour_ago))
    assert places.silence_s(7) >= 3600


def test_worker_waits_for_a_newer_place(tmp_path: Path) -> None:
    """After leaving a round a worker takes the place of the next one, not its old one again; asked to stop it gets none."""
    places, stop = Places(tmp_path), Stop()
    stay = Stay(places, local_rank=0, stop=stop)
    places.give(0, a_place(1))
    assert stay.next_place() == a_place(1)
    assert not stay.is_called
    places.call(1, lost=False)
    assert stay.is_called
    assert not stay.is_given_up
    places.call(1, lost=True)
    assert stay.is_given_up
    stay.leave(lost=True)
    assert places.free(0, pid=os.getpid(), round_=1) == Free(pid=os.getpid(), round=1, lost=True)

    found: list[Place | None] = []
    waiting = Thread(target=lambda: found.append(stay.next_place()))
    waiting.start()
    places.give(0, a_place(2))
    waiting.join(10)
    assert found == [a_place(2)]
    stop.ask()
    assert stay.next_place() is None


class Peers:
    """A group of three as rank 0 sees it: the others' words are given, and what is broadcast is recorded."""

    rank, world = 0, 3

    def __init__(self, others: tuple[int, int], *, on_broadcast: Callable[[int], None] = lambda _: None) -> None:
        self._others = torch.tensor([0, *others])
        self._on_broadcast = on_broadcast
        self.sources: list[int] = []

    def sum(self, tensor: Tensor) -> None:
        """Add what the others say."""
        tensor += self._others

    def broadcast(self, tensor: Tensor, *, source: int = 0) -> None:
        """Give ones, and the ledger of a model with a step, as every other process would."""
        self.sources.append(source)
        self._on_broadcast(len(self.sources))
        if source == self.rank:
            return
        if tensor.dtype == torch.int64:
            tensor.fill_(len(LEDGER))
        elif tensor.dtype == torch.uint8:
            tensor.copy_(torch.frombuffer(bytearray(LEDGER), dtype=torch.uint8))
        else:
            tensor.fill_(1.0)

    def barrier(self) -> None:
        """Wait for nobody."""


@pytest.mark.parametrize(
    ("own", "others", "source", "step"),
    [
        (None, (0, 8), 2, 7),
        (None, (8, 8), 1, 7),
        (7, (8, 0), 0, 7),
        (7, (9, 9), 1, 8),
        (7, (8, 8), None, 7),
        (0, (1, 1), None, 0),
        (None, (0, 0), None, None),
    ],
    ids=["newcomer", "tie", "gives", "behind", "equal", "before the first step", "total loss"],
)
def test_most_advanced_state_wins(
    own: int | None, others: tuple[int, int], source: int | None, step: int | None
) -> None:
    """The state with the most steps goes to all, of equals the lowest rank's, and nothing moves where all are equal."""
    state = a_state(dropout=0.0)
    if own:
        state.move_to(own)
    memory, peers = Memory(state=state, is_whole=own is not None), Peers(others)
    assert from_survivor(memory, group=peers, device=CPU) == step
    assert set(peers.sources) == ({source} if source is not None else set())
    assert memory.is_whole == (step is not None)
    if source:
        assert all(tensor.eq(1).all() for tensor in state.tensors().values())
        assert state.step == step
        assert state.ledger.head == "ab"


def test_half_written_state_is_never_offered() -> None:
    """When the giving process dies on the way, a newcomer has no state, and one that gave keeps its own."""

    def die(count: int) -> None:
        if count == 3:
            raise PeerLostError("gone")

    for own, others, still_whole in ((None, (8, 8), False), (3, (8, 8), False), (7, (8, 0), True)):
        state = a_state(dropout=0.0)
        if own:
            state.move_to(own)
        memory = Memory(state=state, is_whole=own is not None)
        with pytest.raises(PeerLostError):
            from_survivor(memory, group=Peers(others, on_broadcast=die), device=CPU)
        assert memory.is_whole == still_whole
        assert memory.is_mixed != still_whole


def test_a_spare_worker_says_that_it_is_ready_and_gets_a_number(tmp_path: Path) -> None:
    """A number is for one process; what another one said or got does not count."""
    one, other = Places(tmp_path), Places(tmp_path)
    assert (one.is_spare(7), other.number_of(7)) == (False, None)
    other.say_spare(7)
    one.number(7, 3)
    assert (one.is_spare(7), one.is_spare(8)) == (True, False)
    assert (other.number_of(7), other.number_of(8)) == (3, None)
