"""
Process 1 of one container: starts the program, and leaves nothing of it behind.

Run as a script by the kubelet, so it imports the standard library only::

    python -I -S container_init.py PROGRAM ARGUMENT...

It stands in for a PID namespace: as a child subreaper it inherits every orphan below it, also those with a session of their
own, and kills them all when the program has ended, when the kubelet says so, or when the kubelet is gone (its end of standard
input closes). Requests on standard input, one byte each: ``T`` SIGTERM to the program, ``K`` SIGKILL to everything.
Ends with the program's exit code; a signal n counts as 128 + n.
"""

import ctypes
import os
import select
import signal
import sys

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER. Source: prctl(2)."""
_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG. Source: prctl(2)."""


def main(argv: list[str]) -> int:
    """Run *argv* and return its exit code."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    alarm, bell = os.pipe()
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(bell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    program = _start(argv, libc)
    code = _supervise(program, alarm)
    _kill_all()
    return code


def _start(argv: list[str], libc: ctypes.CDLL) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(137)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.setpgid(0, 0)
        os.execvp(argv[0], argv)  # noqa: S606  # this is what the kubelet asked for
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: cannot be started: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(128)


def _supervise(program: int, alarm: int) -> int:
    """Return the program's exit code once it has ended; do what the kubelet asks meanwhile."""
    sources = [0, alarm]
    while True:
        code = _reaped(program)
        if code is not None:
            return code
        readable = select.select(sources, [], [])[0]
        if alarm in readable:
            os.read(alarm, 4096)
        if 0 not in readable:
            continue
        request = os.read(0, 1)
        if request == b"T":
            os.kill(program, signal.SIGTERM)
        else:
            _kill_all()
            return 137


def _reaped(program: int) -> int | None:
    """Reap what has ended; return the program's exit code if it was among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == program:
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _kill_all() -> None:
    """Kill every descendant; orphans come up to this process until none is left."""
    while True:
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants(root: int) -> list[int]:
    """Return the processes below *root*, found by their parents in /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib takes as long to import as all the rest
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123  # as above
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
