"""
SIGTERM as a flag that the loop asks once a step.

A thread waits for the signal, because Python runs no signal handler while the main thread sits in a collective. The signal
must be blocked before any other thread exists: each inherits the mask.
"""

import signal
import threading
import time
from typing import Final

PATIENCE_S: Final = 10.0
"""How long after SIGTERM another process may let this one wait; then it is taken for hung."""


class Stop:
    """Whether this process was asked to end."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._since = 0.0

    @property
    def asked(self) -> bool:
        """Return whether SIGTERM has come."""
        return self._asked.is_set()

    @property
    def overdue(self) -> bool:
        """Return whether SIGTERM came longer than ``PATIENCE_S`` ago."""
        return self.asked and time.monotonic() - self._since > PATIENCE_S

    def ask(self) -> None:
        """Act as if SIGTERM had come."""
        self._since = time.monotonic()
        self._asked.set()


def on_sigterm() -> Stop:
    """Return a flag that SIGTERM sets from now on; call it in the main thread before any other thread starts."""
    stop = Stop()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        stop.ask()

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
    return stop
