"""Processes that train together, played by threads that take turns: a step's sums need no sockets and no time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from bertjob_trainer.group import Made, Underway


@dataclass(slots=True, eq=False)
class Turns:
    """Whose turn it is; torch's generator is the process's, so one thread computes at a time."""

    world: int
    turn: int = 0
    parts: list[Tensor] = field(default_factory=list)
    sums: list[Tensor] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)


@dataclass(frozen=True, slots=True)
class InTurn:
    """One process of ``world``; sums are added in the order of the ranks."""

    rank: int
    turns: Turns

    @property
    def world(self) -> int:
        """Return the number of processes."""
        return self.turns.world

    def await_turn(self) -> None:
        """Wait until this process may compute."""
        with self.turns.changed:
            assert self.turns.changed.wait_for(lambda: self.turns.turn == self.rank, 60)

    def sum(self, tensor: Tensor) -> None:
        """Replace *tensor* by the sum over all processes."""
        turns = self.turns
        number = len(turns.sums)
        turns.parts.append(tensor.clone())
        if len(turns.parts) == self.world:
            turns.sums.append(sum(turns.parts[1:], turns.parts[0]))
            turns.parts.clear()
        self.pass_on()
        self.await_turn()
        tensor.copy_(turns.sums[number])

    def start_sum(self, tensor: Tensor) -> Underway:
        """Sum at once."""
        self.sum(tensor)
        return Made()

    def broadcast(self, tensor: Tensor, *, source: int = 0) -> None:
        """Refuse: steps do without."""
        raise AssertionError(f"{tensor.shape} of {source}")

    def barrier(self) -> None:
        """Refuse: steps do without."""
        raise AssertionError

    def pass_on(self) -> None:
        """Let the next process compute."""
        with self.turns.changed:
            self.turns.turn = (self.rank + 1) % self.world
            self.turns.changed.notify_all()


def together(world: int, work: Callable[[InTurn], None]) -> None:
    """Let *world* processes do the same *work* to its end."""
    turns, errors = Turns(world), list[BaseException]()

    def run(group: InTurn) -> None:
        group.await_turn()
        try:
            work(group)
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            errors.append(error)
        group.pass_on()

    threads = [threading.Thread(target=run, args=(InTurn(rank, turns),)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
