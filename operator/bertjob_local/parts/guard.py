"""
Wait for the supervising process to end, then kill what it left behind.

The kernel ends the supervising process's own children with it, but not their children: pods of the process
kubelet, for one. They are found by the marker in their environment.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable

from bertjob_local.parts.child import kill_marked, marked_pids

GRACE_S = 3.0
"""For a kubelet that was told to end its pods; it gives them 2 s."""
SWEEPS_S = 1.0


def main() -> None:
    """Take the supervising process's pid and the cluster's id as arguments."""
    pid, cluster_id = int(sys.argv[1]), sys.argv[2]
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if os.getppid() == pid:
        select.select([os.pidfd_open(pid)], [], [])
    _repeat_while(lambda: bool(marked_pids(cluster_id)), for_s=GRACE_S)
    _repeat_while(lambda: bool(kill_marked(cluster_id)), for_s=SWEEPS_S)


def _repeat_while(some_are_left: Callable[[], bool], *, for_s: float) -> None:
    deadline = time.monotonic() + for_s
    while some_are_left() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
