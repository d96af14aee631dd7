"""The processes that train together, and what they say to each other."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

import torch
from torch import Tensor, distributed

from bertjob_trainer import forming
from bertjob_trainer.elastic.places import Place
from bertjob_trainer.forming import TIMEOUT, Connections

_LOOK_UP: Final = timedelta(seconds=1)
"""How often a wait looks whether it was given up."""


class PeerLostError(Exception):
    """Another process ended or does not answer; nothing is wrong with this one, and starting again may help."""


class RegroupError(PeerLostError):
    """The processes that train together change, and all of them have left at the same step; nobody is lost."""


class Underway(Protocol):
    """A sum that has been started."""

    def is_made(self) -> bool:
        """Return whether ``wait`` returns at once."""
        ...

    def wait(self) -> None:
        """Return once it is made. Raises PeerLostError."""
        ...


class Group(Protocol):
    """Collective operations; every process calls the same ones in the same order."""

    @property
    def rank(self) -> int:
        """Return this process's number, from 0."""
        ...

    @property
    def world(self) -> int:
        """Return the number of processes."""
        ...

    def sum(self, tensor: Tensor) -> None:
        """Replace *tensor* by the sum over all processes."""
        ...

    def start_sum(self, tensor: Tensor) -> Underway:
        """Begin to replace *tensor* by the sum over all processes; nothing may touch it before that is awaited."""
        ...

    def broadcast(self, tensor: Tensor, *, source: int = 0) -> None:
        """Replace *tensor* by that of rank *source*."""
        ...

    def barrier(self) -> None:
        """Wait until every process is here."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A sum that needs no waiting."""

    def is_made(self) -> bool:
        """Return True."""
        return True

    def wait(self) -> None:
        """Return."""


@dataclass(frozen=True, slots=True)
class Alone:
    """One process."""

    rank: int = 0
    world: int = 1

    def sum(self, tensor: Tensor) -> None:
        """Leave *tensor* as it is."""

    def start_sum(self, tensor: Tensor) -> Underway:  # noqa: ARG002  # the interface's
        """Leave *tensor* as it is."""
        return Made()

    def broadcast(self, tensor: Tensor, *, source: int = 0) -> None:
        """Leave *tensor* as it is."""

    def barrier(self) -> None:
        """Wait for nobody."""


@dataclass(frozen=True, slots=True)
class _Reducing:
    """An all_reduce of torch's."""

    work: Any
    given_up: Callable[[], bool] | None
    """Whether to wait no longer; None: torch does not tell while it waits."""

    def is_made(self) -> bool:
        """Return whether it is made, or has failed, which ``wait`` raises."""
        found: bool = self.work.is_completed()
        return found

    def wait(self) -> None:
        """Return once it is made; on a GPU, once what is computed from now on sees it."""
        with peers_needed():
            if self.given_up is not None:
                self._watch(self.given_up)
            self.work.wait()

    def _watch(self, given_up: Callable[[], bool]) -> None:
        """Wait; raises PeerLostError once given up. A peer that hangs keeps its connections, so nothing fails."""
        while not self.work.is_completed():
            with contextlib.suppress(RuntimeError):  # not done within the time, or failed, which the caller raises
                self.work.wait(_LOOK_UP)
            if not self.work.is_completed() and given_up():
                raise PeerLostError("another training process does not answer")


@dataclass(frozen=True, slots=True)
class Together:
    """Processes in torch's default process group."""

    rank: int
    world: int
    given_up: Callable[[], bool]
    """Whether to wait no longer for a process that does not answer."""
    connections: Connections | None = None
    """Gets the sockets of groups within this one too; None: nobody breaks them off."""

    def sum(self, tensor: Tensor) -> None:
        """Replace *tensor* by the sum over all processes."""
        self.start_sum(tensor).wait()

    def start_sum(self, tensor: Tensor) -> Underway:
        """Begin to replace *tensor* by the sum over all processes."""
        with peers_needed():
            work = distributed.all_reduce(tensor, async_op=True)
        return _Reducing(work, self.given_up if tensor.device.type == "cpu" else None)

    def broadcast(self, tensor: Tensor, *, source: int = 0) -> None:
        """Replace *tensor* by that of rank *source*."""
        with peers_needed():
            distributed.broadcast(tensor, src=source)

    def barrier(self) -> None:
        """Wait until every process is here."""
        with peers_needed():
            distributed.barrier()


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """The processes of a group of torch's that is a part of all: those in one line of the grid."""

    rank: int
    """Place within the line."""
    world: int
    """Length of the line."""
    process_group: Any

    def sum(self, tensor: Tensor) -> None:
        """Replace *tensor* by the sum over the line."""
        with peers_needed():
            distributed.all_reduce(tensor, group=self.process_group)


def connecting(group: Group) -> AbstractContextManager[None]:
    """Return the context in which groups within *group* are made, so that what breaks it off breaks them off too."""
    if isinstance(group, Together) and group.connections is not None:
        return group.connections.watched()
    return contextlib.nullcontext()


@contextmanager
def peers_needed() -> Iterator[None]:
    """Raise PeerLostError for what torch reports as a bare RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PeerLostError(f"another training process is gone ({first})") from error


def is_of_a_peer(error: BaseException | None) -> bool:
    """Return whether torch failed because a connection ended or nobody answered: a bare RuntimeError, for gloo, so its text tells."""
    while error is not None:
        if isinstance(error, distributed.DistError) or "gloo/transport" in str(error):
            return True
        error = error.__cause__
    return False


@contextmanager
def peers_blamed() -> Iterator[None]:
    """Raise PeerLostError for errors of connections, and leave others as they are: this process's own arithmetic is in here too."""
    try:
        yield
    except RuntimeError as error:
        if not is_of_a_peer(error):
            raise
        raise PeerLostError(f"another training process is gone ({str(error).strip().splitlines()[0]})") from error


@contextmanager
def joined(
    *, rank: int, world: int, device: torch.device, given_up: Callable[[], bool] = lambda: False
) -> Iterator[Group]:
    """
    Join the group that torchrun's environment describes, and leave it at the end.

    Args:
        rank: this process's number.
        world: number of processes; 1 joins nothing.
        device: where the tensors lie.
        given_up: asked now and then while this process waits for the others: whether to wait no longer.

    """
    if world == 1:
        yield Alone()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    with peers_needed():
        distributed.init_process_group(backend, timeout=TIMEOUT, device_id=device if device.type == "cuda" else None)
    yield Together(rank, world, given_up)
    # Not after an error: leaving in good order waits for the others, who may be gone.
    distributed.destroy_process_group()


@contextmanager
def formed(
    place: Place, *, device: torch.device, given_up: Callable[[], bool], connections: Connections
) -> Iterator[Group]:
    """
    Form the group of a round and leave it at the end, in whatever state it is; this process can form the next one then.

    Args:
        place: this process's.
        device: where the tensors lie.
        given_up: asked now and then while this process waits for the others: whether to wait no longer.
        connections: gets the group's, to break off waits that ``given_up`` does not reach.

    """
    if place.world == 1:
        yield Alone()
        return
    try:
        with peers_needed():
            forming.form(
                place.address,
                rank=place.rank,
                world=place.world,
                device=device,
                given_up=given_up,
                connections=connections,
            )
        yield Together(place.rank, place.world, given_up, connections)
    finally:
        forming.leave(connections)


def from_first(group: Group, value: Any, *, device: torch.device, source: int = 0) -> Any:
    """
    Return the *value* of rank *source*, a JSON value, in every process; what the others pass is ignored.

    JSON and not ``broadcast_object_list``, which unpickles what it receives.
    """
    if group.world == 1:
        return value
    data = json.dumps(value).encode() if group.rank == source else b""
    size = torch.tensor([len(data)], dtype=torch.int64, device=device)
    group.broadcast(size, source=source)
    content = torch.zeros(int(size), dtype=torch.uint8, device=device)
    if group.rank == source:
        content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    group.broadcast(content, source=source)
    return json.loads(bytes(content.cpu().numpy()))


def neighbours(group: Group, place: str, *, device: torch.device) -> int:
    """
    Return how many processes gave the same *place*, this one included.

    Args:
        group: all of them call this.
        place: name of a machine, for instance.
        device: where the group's tensors lie.

    """
    number = int.from_bytes(hashlib.blake2b(place.encode(), digest_size=7).digest(), "big")
    places = torch.zeros(group.world, dtype=torch.int64, device=device)
    places[group.rank] = number
    group.sum(places)
    return int((places == number).sum())
