"""The rendezvous store: a TCPStore on the pod's address, outside all workers so that none is a single point of failure."""

import logging
import os
import signal
import socket
import sys
from datetime import timedelta
from typing import Any

from bertjob_api import names
from bertjob_trainer.elastic.settings import needed

_log = logging.getLogger(__name__)


def serve(address: str, port: int) -> Any:
    """
    Return a TCPStore that listens on *address* alone; it serves from a thread of its own while it is referenced.

    Given only a port, the store would listen on every address, and the stores of two local jobs would collide.
    """
    from torch.distributed import TCPStore  # noqa: PLC0415  # seconds of import that a wrong call need not wait for

    listener = socket.create_server((address, port), backlog=1024)
    return TCPStore(
        address,
        listener.getsockname()[1],
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=30),
        master_listen_fd=listener.detach(),
    )


def main() -> int:
    """Serve until SIGTERM and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Blocked before any thread exists, so that every thread inherits it and the signal waits for sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    address = needed(os.environ, names.POD_IP_ENV)
    store = serve(address, names.STORE_PORT)
    _log.info("store: listening on %s:%d", address, store.port)
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
