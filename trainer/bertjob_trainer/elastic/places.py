"""
What an agent and its workers say to each other: a folder of small files, each replaced as a whole. No torch.

The agent gives each worker its place in a round and calls the workers back when the round must end; a worker that has left its
round says that it is free, and beats as long as its process runs. Files and not signals or sockets: they outlive either side's
pauses, and a reader never waits.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

_CALL: Final = "call"
NO_ROUND: Final = 0
"""What a new worker says it is free of once it is ready for its first place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker's place in a round."""

    round: int
    """From 1, counted by this node's agent."""
    rank: int
    world: int
    local_world: int
    """Workers of this node."""
    address: str
    """HOST:PORT where the worker of rank 0 opens the round's store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The agent's wish that a round ends."""

    round: int
    lost: bool
    """A process of the round is lost, so its collectives will never end; else they may."""
    time: float
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """A worker's word that it has left a round and waits for its next place."""

    pid: int
    round: int
    lost: bool
    """It left because another process was lost; else because it was called."""


class Places:
    """The folder of one node; its agent and its workers each make one of these."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def give(self, local_rank: int, place: Place) -> None:
        """Tell a worker its place."""
        self._write(f"place-{local_rank}", asdict(place))

    def forget(self, local_rank: int) -> None:
        """Take back the place of a worker that is lost: its successor waits for one of its own."""
        (self._folder / f"place-{local_rank}").unlink(missing_ok=True)

    def place(self, local_rank: int) -> Place | None:
        """Return the newest place that a worker was given; None: none was."""
        found = self._read(f"place-{local_rank}")
        return Place(**found) if found is not None else None

    def call(self, round_: int, *, lost: bool) -> None:
        """Ask all workers to leave a round."""
        self._write(_CALL, asdict(Call(round=round_, lost=lost, time=time.time())))

    def called(self, round_: int) -> Call | None:
        """Return the wish that this round ends; None: it may go on."""
        found = self._read(_CALL)
        return Call(**found) if found is not None and found["round"] == round_ else None

    def say_free(self, local_rank: int, free: Free) -> None:
        """Say that a worker has left its round."""
        self._write(f"free-{local_rank}", asdict(free))

    def free(self, local_rank: int, *, pid: int, round_: int) -> Free | None:
        """Return the word of a worker that has left this round; None: it has not."""
        found = self._read(f"free-{local_rank}")
        free = Free(**found) if found is not None else None
        return free if free is not None and (free.pid, free.round) == (pid, round_) else None

    def number(self, pid: int, local_rank: int) -> None:
        """Give a spare worker a number: it is one of the node's workers from now on."""
        self._write(f"number-{pid}", {"local_rank": local_rank})

    def number_of(self, pid: int) -> int | None:
        """Return the number that a spare worker was given; None: none was yet."""
        found = self._read(f"number-{pid}")
        return None if found is None else int(found["local_rank"])

    def say_spare(self, pid: int) -> None:
        """Say that a spare worker is ready for a number."""
        self._write(f"spare-{pid}", {})

    def is_spare(self, pid: int) -> bool:
        """Return whether a spare worker is ready for a number."""
        return self._read(f"spare-{pid}") is not None

    def beat(self, pid: int) -> None:
        """Say that a process runs."""
        self._folder.joinpath(f"beat-{pid}").touch()

    def silence_s(self, pid: int) -> float:
        """Return the seconds since a process last beat; 0 for one that never did, since it may be starting still."""
        try:
            return max(0.0, time.time() - self._folder.joinpath(f"beat-{pid}").stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def _write(self, name: str, value: dict[str, Any]) -> None:
        draft = self._folder / f".{name}-{os.getpid()}"
        draft.write_text(json.dumps(value))
        draft.replace(self._folder / name)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self._folder / name).read_text())
        except FileNotFoundError:
            return None
        return found
