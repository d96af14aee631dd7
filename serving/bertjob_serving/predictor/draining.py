"""
The end of a predictor: whoever sends requests hears of it a moment later, so it goes on answering for that moment.

Kubernetes takes a pod out of its Service and sends SIGTERM at the same time, and neither waits for the other.
Source: Kubernetes, "Pod Lifecycle", section "Pod Termination Flow".
"""

import signal
import time
from types import FrameType
from typing import Final

import uvicorn

LINGER_S: Final = 3.0
"""How long new requests are accepted after SIGTERM, until every proxy has surely heard of it."""
FINISH_S: Final = 25
"""Time for requests that are still under way then; both together end within a pod's usual grace of 30 s."""


class LingeringServer(uvicorn.Server):
    """A server that first stops being ready, then stops accepting, then finishes what it has."""

    _leaves_at: float | None = None

    @property
    def leaving(self) -> bool:
        """Return whether SIGTERM has come."""
        return self._leaves_at is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to linger at the first SIGTERM; end at once at a second one, or when somebody presses Ctrl-C."""
        if sig == signal.SIGTERM and not self.leaving:
            self._leaves_at = time.monotonic() + LINGER_S
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server is to stop accepting; asked ten times a second."""
        if self._leaves_at is not None and time.monotonic() >= self._leaves_at:
            self.should_exit = True
        return await super().on_tick(counter)
