"""
Progress for the supervisor and the log, off the training thread.

A report that cannot be delivered is dropped after one warning: training must never wait for whoever watches it.
"""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Final

from bertjob_api.parse import dump
from bertjob_api.progress import Progress

MIN_INTERVAL_S: Final = 0.5
LOG_INTERVAL_S: Final = 5.0
_TIMEOUT_S: Final = 2.0

_log = logging.getLogger(__name__)


def post_to(url: str) -> Callable[[Progress], None]:
    """Return a sender of progress to *url* by HTTP POST; it raises OSError when nobody answers."""
    # No proxy from the environment: the supervisor is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(progress: Progress) -> None:
        data = json.dumps(dump(progress)).encode()
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310
        with opener.open(request, timeout=_TIMEOUT_S):
            pass

    return send


class Reporter:
    """Sends the newest progress at most every ``MIN_INTERVAL_S``, from a thread of its own."""

    def __init__(self, send: Callable[[Progress], None] | None) -> None:
        """Start; *send* None: only the log is written."""
        self._send = send
        self._newest: Progress | None = None
        self._wake = threading.Condition()
        self._closed = False
        self._failed = False
        self._logged = float("-inf")
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def report(self, progress: Progress) -> None:
        """Say how far training is; returns at once."""
        if progress.rank == 0 and time.monotonic() - self._logged >= LOG_INTERVAL_S:
            self._logged = time.monotonic()
            _log.info("%s", sentence(progress))
        with self._wake:
            self._newest = progress
            self._wake.notify()

    def close(self) -> None:
        """Send what is left and stop."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout=2 * _TIMEOUT_S)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._newest is not None or self._closed)
                progress, self._newest = self._newest, None
            if progress is not None:
                self._deliver(progress)
            with self._wake:
                if self._closed and self._newest is None:
                    return
                self._wake.wait_for(lambda: self._closed, timeout=MIN_INTERVAL_S)

    def _deliver(self, progress: Progress) -> None:
        if self._send is None:
            return
        try:
            self._send(progress)
        except OSError as error:
            if not self._failed:
                _log.warning("progress is not taken (%s); training goes on, later reports are dropped silently", error)
            self._failed = True


def sentence(progress: Progress) -> str:
    """Return the log line of a progress."""
    loss = "-" if progress.loss is None else f"{progress.loss:.4f}"
    rate = "-" if progress.samples_per_second is None else f"{progress.samples_per_second:.1f}"
    eta = "-" if progress.eta_seconds is None else f"{progress.eta_seconds} s"
    sent = f", {progress.gradient_bytes / 1e6:.1f} MB of gradients a step" if progress.gradient_bytes else ""
    return (
        f"step {progress.step}/{progress.total}, epoch {progress.epoch or 0:.2f}, loss {loss}, "
        f"{rate} samples/s, {progress.world_size} processes{sent}, {eta} left"
    )
