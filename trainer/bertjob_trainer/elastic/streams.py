"""Workers' output: through pipes, line by line with the rank before it, into the pod's log. No files that grow."""

import os
import sys
import tempfile
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import LogsDest, LogsSpecs

from bertjob_trainer.elastic.pump import Pump, Tail

SPARE = -1
"""Stands for the local rank of a worker that has none yet."""


class PipedLogs(LogsSpecs):  # type: ignore[misc]  # torch is not typed for us
    """Gives torch's agent pipes instead of log files; for each start of the workers new ones."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="bertjob-workers-")
        self._pumps: list[tuple[int, Pump]] = []
        """With the local rank whose output each copies."""
        self._ours: list[int] = []
        self._tails: dict[int, Tail] = {}

    @property
    def root_log_dir(self) -> str:
        """Return the folder of the error files."""
        return self._folder.name

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Return where the workers' output goes; their error file (torch's ``@record``) is named in *envs*."""
        self.finish()
        errors = {}
        for local_rank, env in envs.items():
            errors[local_rank] = str(Path(self._folder.name) / f"error-{local_rank}.json")
            Path(errors[local_rank]).unlink(missing_ok=True)
            env["TORCHELASTIC_ERROR_FILE"] = errors[local_rank]
            self._tails[local_rank] = Tail()
        return LogsDest(
            stdouts={local_rank: self._pipe(env, sink=1) for local_rank, env in envs.items()},
            stderrs={
                local_rank: self._pipe(env, sink=2, tail=self._tails[local_rank]) for local_rank, env in envs.items()
            },
            tee_stdouts={},
            tee_stderrs={},
            error_files=errors,
            filtered_stdout=os.devnull,
            filtered_stderr=os.devnull,
        )

    def again(self, local_rank: int, env: dict[str, str]) -> tuple[str, str]:
        """Return where stdout and stderr of one worker go that is started while others run on."""
        self._pumps = [(owner, pump) for owner, pump in self._pumps if pump.is_alive()]
        Path(env["TORCHELASTIC_ERROR_FILE"]).unlink(missing_ok=True)
        self._tails[local_rank] = Tail()
        return self._pipe(env, sink=1), self._pipe(env, sink=2, tail=self._tails[local_rank])

    def spare(self, env: dict[str, str]) -> tuple[str, str]:
        """Return where stdout and stderr of a worker without a number go."""
        env["TORCHELASTIC_ERROR_FILE"] = str(Path(self._folder.name) / "error-spare.json")
        self._tails[SPARE] = Tail()
        return self._pipe(env, sink=1), self._pipe(env, sink=2, tail=self._tails[SPARE])

    def adopt(self, local_rank: int) -> None:
        """Take the spare worker's output for that of this local rank, whose own has ended."""
        self._tails[local_rank] = self._tails.pop(SPARE)
        self._pumps = [
            (local_rank if owner == SPARE else owner, pump) for owner, pump in self._pumps if pump.is_alive()
        ]

    def renumber(self, local_rank: int, rank: int) -> None:
        """Put a new rank before the lines of a worker."""
        for owner, pump in self._pumps:
            if owner == local_rank:
                pump.rename(_prefix(rank))

    def tail(self, local_rank: int) -> str:
        """Return the last lines that a worker wrote to stderr."""
        return self._tails[local_rank].text() if local_rank in self._tails else ""

    def started(self) -> None:
        """Close our copies of the write ends: the workers have theirs now."""
        for descriptor in self._ours:
            os.close(descriptor)
        self._ours = []

    def finish(self) -> None:
        """Copy what ended workers left in their pipes."""
        for _, pump in self._pumps:
            pump.finish()
        self._pumps = []
        self.started()

    def _pipe(self, env: dict[str, str], *, sink: int, tail: Tail | None = None) -> str:
        read, write = os.pipe()
        target = sys.stdout.buffer if sink == 1 else sys.stderr.buffer
        pump = Pump(read, target, prefix=_prefix(env["RANK"]), tail=tail)
        pump.start()
        self._pumps.append((int(env["LOCAL_RANK"]), pump))
        self._ours.append(write)
        return f"/dev/fd/{write}"


def _prefix(rank: int | str) -> str:
    return f"[rank {rank}] "
