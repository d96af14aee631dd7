"""The supervising process seen from outside: start it, find it, end it."""

import fcntl
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TextIO

from bertjob_local.parts.child import child_env
from bertjob_local.parts.layout import Layout

_END_TIMEOUT_S = 10.0
_LOCK_TIMEOUT_S = 1.0
_READY_FD = 3


def start_supervisor(layout: Layout) -> str:
    """
    Return the supervising process's one line: ``ready``, why it failed, or nothing when it died.

    Unless that is ``ready`` no process is left; nor is one when this call is interrupted.

    """
    reader, writer = os.pipe()
    with os.fdopen(reader) as said:
        pid = _spawn(layout, writer)
        answer = ""
        try:
            answer = said.readline().strip()
        finally:
            if answer != "ready":
                end_process(pid)
    return answer


def end_process(pid: int) -> None:
    """Ask a supervising process to end, and kill it if it does not; returns when it has ended."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        with os.fdopen(pidfd):
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(pidfd, number)
                if select.select([pidfd], [], [], _END_TIMEOUT_S)[0]:
                    break
    with suppress(ChildProcessError):  # a child only of the process that started it
        os.waitpid(pid, 0)


def hold(layout: Layout) -> TextIO:
    """Return the lock file, locked for this process's life; RuntimeError when somebody else holds it."""
    lock = layout.lock.open("a+")
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while not _try_lock(lock, fcntl.LOCK_EX):  # `holder` may look just now
        if time.monotonic() > deadline:
            lock.close()
            msg = f"a local cluster already runs in {layout.root}; `down` ends it"
            raise RuntimeError(msg)
        time.sleep(0.02)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def holder(layout: Layout) -> int | None:
    """Return the pid of the supervising process of a state folder, or None when there is none."""
    try:
        lock = layout.lock.open()
    except FileNotFoundError:
        return None
    with lock:
        return None if _try_lock(lock, fcntl.LOCK_SH) else int(lock.read() or 0) or None


def _try_lock(lock: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _spawn(layout: Layout, writer: int) -> int:
    """Return the pid of a supervising process in its own session; *writer* is closed here."""
    argv = (sys.executable, "-m", "bertjob_local.parts.supervisor", str(layout.root), str(_READY_FD))
    log = os.open(layout.log_of("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    files = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
        (os.POSIX_SPAWN_DUP2, writer, _READY_FD),
    )
    try:
        # Not subprocess: the process is meant to outlive this one, and a Popen would warn about that.
        return os.posix_spawn(sys.executable, argv, child_env(os.environ), file_actions=files, setsid=True)
    finally:
        os.close(writer)
        os.close(log)
