"""
Four processes of which one ends while the others form the groups of a grid: ``python grid_worker.py RANK``, the one that ends.

The others are broken off once they wait, as their heartbeat does. Ends 0 when each of them has told of a lost process.
"""

import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Final

import torch

from bertjob_trainer.elastic.places import Place
from bertjob_trainer.forming import Connections
from bertjob_trainer.group import PeerLostError, formed
from bertjob_trainer.parallel.axes import Axes
from bertjob_trainer.parallel.grid import grid_of

WORLD: Final = 4
CPU: Final = torch.device("cpu")
TOLD: Final = 7


def run(rank: int, address: str, ends: int) -> None:
    """Be one of the processes."""
    connections, is_over = Connections(), threading.Event()
    place = Place(round=1, rank=rank, world=WORLD, local_world=1, address=address)
    try:
        with formed(place, device=CPU, given_up=lambda: False, connections=connections) as group:
            group.barrier()
            if rank == ends:
                os._exit(TOLD)
            threading.Thread(target=repeated, args=(connections.break_off, is_over), daemon=True).start()
            grid_of(Axes(data=2, fsdp=1, pipeline=1, tensor=2), device=CPU, group=group)
            group.barrier()  # for a group that had its part of the grid already
    except PeerLostError:
        is_over.set()
        os._exit(TOLD)


def repeated(work: Callable[[], None], is_over: threading.Event) -> None:
    """Do *work* every half second, as the watch of a worker that stays does."""
    while not is_over.wait(0.5):
        work()


def main() -> int:
    """Return 0 when all have told within their time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(rank, address, int(sys.argv[1]))) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    print(codes)  # noqa: T201
    return 0 if codes == [TOLD] * WORLD else 1


if __name__ == "__main__":
    sys.exit(main())
