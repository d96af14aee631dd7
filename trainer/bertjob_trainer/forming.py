"""
How processes form a group again and again within their lives: the meeting before it, and breaking it off.

Torch's own ways wait minutes for a peer that is gone (``init_process_group``) or that hangs with its connections open (gloo's
collectives and destructor), and gloo has no abort. So peers first meet in a store, where each wait is short and can be given up,
and a group that must end is broken off by shutting its connections down: every collective then fails at once.
"""

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
from torch import distributed

_TRY_S: Final = 1
_POLL_S: Final = 0.02
_CONNECT: Final = timedelta(seconds=30)
"""All peers have just met, so connecting takes milliseconds."""
TIMEOUT: Final = timedelta(minutes=10)
"""Longest wait for another process; long enough for one to publish a model while the others wait."""


class Connections:
    """The sockets that a group opened, so that another thread can break them off."""

    def __init__(self) -> None:
        self._sockets: Mapping[int, int] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take the sockets that are opened meanwhile for the group's."""
        before = _sockets()
        yield
        self._sockets = {**self._sockets, **{fd: inode for fd, inode in _sockets().items() if before.get(fd) != inode}}

    def forget(self) -> None:
        """Break nothing off from now on."""
        self._sockets = {}

    def break_off(self) -> None:
        """Shut every connection of the group down, so that whoever waits on it gets an error; callable from any thread."""
        for fd, inode in self._sockets.items():
            _shut(fd, inode)


def _sockets() -> dict[int, int]:
    """Return this process's sockets and the inode of each, by which a number that was used again is told apart."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            status = os.fstat(int(entry.name))
        except OSError:
            continue  # closed meanwhile
        if stat.S_ISSOCK(status.st_mode):
            found[int(entry.name)] = status.st_ino
    return found


def _shut(fd: int, inode: int) -> None:
    try:
        copy = os.dup(fd)
    except OSError:
        return  # closed already
    status = os.fstat(copy)
    if status.st_ino != inode or not stat.S_ISSOCK(status.st_mode):  # the number was used again, for whatever
        os.close(copy)
        return
    with socket.socket(fileno=copy) as connection:
        # Not a listening socket: gloo ends the process when its accept fails.
        is_listening = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if is_listening:
            return
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was quicker


def form(
    address: str, *, rank: int, world: int, device: torch.device, given_up: Callable[[], bool], connections: Connections
) -> None:
    """
    Make the default process group of those that meet at *address*.

    Args:
        address: HOST:PORT; the process of rank 0 opens a store there.
        rank: this process's number.
        world: processes to wait for, at least 2.
        device: of the tensors.
        given_up: asked now and then: whether to wait no longer.
        connections: gets the group's.

    Raises:
        RuntimeError: given up, or a peer failed meanwhile; torch's errors of this kind are of it too.

    """
    is_cuda = device.type == "cuda"
    with connections.watched():  # the store's too: whoever makes a group within this one waits there for the others
        store = _meet(address, rank=rank, world=world, given_up=given_up)
        distributed.init_process_group(
            "nccl" if is_cuda else "gloo",
            store=store,
            rank=rank,
            world_size=world,
            timeout=_CONNECT,
            device_id=device if is_cuda else None,
        )
    distributed.distributed_c10d._set_pg_timeout(TIMEOUT)  # noqa: SLF001  # torch offers no other way


def _meet(address: str, *, rank: int, world: int, given_up: Callable[[], bool]) -> Any:
    """Return the round's store once all are there."""
    host, _, port = address.rpartition(":")
    where = (host.strip("[]"), int(port))
    while rank != 0 and not _is_open(where):  # torch's own attempts fill the log
        _raise_if(given_up)
        time.sleep(_POLL_S)
    store = distributed.TCPStore(*where, is_master=rank == 0, wait_for_workers=False, timeout=_CONNECT)
    arrived = store.add("bertjob/arrived", 1)
    while arrived < world:
        _raise_if(given_up)
        time.sleep(_POLL_S)
        arrived = store.add("bertjob/arrived", 0)
    return store


def _is_open(where: tuple[str, int]) -> bool:
    try:
        socket.create_connection(where, timeout=_TRY_S).close()
    except OSError:
        return False
    return True


def _raise_if(given_up: Callable[[], bool]) -> None:
    if given_up():
        raise RuntimeError("the meeting was called off")


def leave(connections: Connections) -> None:
    """Leave the default process group, in whatever state it is, without waiting for anybody."""
    connections.break_off()
    connections.forget()
    if distributed.is_initialized():
        if distributed.get_backend() == "nccl":
            distributed.distributed_c10d._abort_process_group()  # noqa: SLF001  # NCCL's own way, of use for NCCL alone
        else:
            distributed.destroy_process_group()
