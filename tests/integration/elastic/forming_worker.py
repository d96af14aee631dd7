"""
A process that forms one group after another. Arguments: its rank of two, then the address of each round.

In each round rank 1 leaves without a word while rank 0 waits in a collective. Prints what it holds after each round; rank 1 stays
in its last round until it is ended.
"""

import json
import sys
import threading
import time
from pathlib import Path

import torch
from torch import distributed

from bertjob_trainer.elastic.places import Place
from bertjob_trainer.forming import TIMEOUT, Connections
from bertjob_trainer.group import PeerLostError, formed

CPU = torch.device("cpu")


def held() -> dict[str, int]:
    """Return what this process holds of the system: files, threads, and memory in KiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": int(status["Threads"]),
        "memory": int(status["VmRSS"].split()[0]),
    }


def one_round(place: Place, *, is_last: bool) -> None:
    """Form, add up, and end the round the way that is this rank's."""
    connections = Connections()
    with formed(place, device=CPU, given_up=lambda: False, connections=connections) as group:
        backend = distributed.distributed_c10d._get_default_group()._get_backend(CPU)
        assert backend.options._timeout == TIMEOUT
        numbers = torch.full((100_000,), place.rank + 1.0)
        group.sum(numbers)
        assert numbers.eq(3).all()
        if place.rank == 1:
            while is_last:
                time.sleep(1)
            return
        if is_last:
            sys.stdout.write("last\n")
            sys.stdout.flush()
            sys.stdin.readline()  # the other one hangs from now on
            threading.Timer(0.5, connections.break_off).start()
        group.broadcast(numbers, source=1)
        group.barrier()


def main() -> None:
    """Go through all rounds."""
    rank, *addresses = sys.argv[1:]
    for number, address in enumerate(addresses, 1):
        place = Place(round=number, rank=int(rank), world=2, local_world=1, address=address)
        try:
            one_round(place, is_last=number == len(addresses))
        except PeerLostError:
            sys.stderr.write(f"round {number} is broken off\n")
        sys.stdout.write(json.dumps(held()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
