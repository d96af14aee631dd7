"""
SIGTERM as a flag that the loop asks once a step.

A thread waits for the signal, because Python runs no signal handler while the main thread sits in a collective. The signal
must be blocked before any other thread exists: each inherits the mask.
"""

import signal
import threading


class Stop:
    """Whether this process was asked to end."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        """Return whether SIGTERM has come."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Act as if SIGTERM had come."""
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
