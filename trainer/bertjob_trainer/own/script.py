"""The script itself, as a child process that ends with this one and gets its signals."""

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bertjob_trainer.elastic import bound

_LOOK_S: Final = 0.5


class Script:
    """A script that was or will be started."""

    def __init__(self) -> None:
        """Pass SIGTERM on from now on; one that comes before the start is remembered."""
        self.is_stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._forward)

    def run(self, command: Sequence[str], env: Mapping[str, str], *, meanwhile: Callable[[], None]) -> int:
        """Return the exit code, negative for a signal; *meanwhile* is called twice a second."""
        argv = (sys.executable, "-I", "-S", bound.__file__, *argv_of(command))
        with subprocess.Popen(argv, env=dict(env)) as process:
            self._process = process
            if self.is_stopped:
                process.terminate()
            while True:
                try:
                    return process.wait(_LOOK_S)
                except subprocess.TimeoutExpired:
                    meanwhile()

    def _forward(self, number: int, _frame: object) -> None:
        self.is_stopped = True
        if self._process is not None:
            self._process.send_signal(number)


def argv_of(command: Sequence[str]) -> tuple[str, ...]:
    """Return the program for arguments of torchrun: a script or ``-m module``, or ``--no-python program``, each with arguments."""
    return tuple(command[1:]) if command[0] == "--no-python" else (sys.executable, *command)
