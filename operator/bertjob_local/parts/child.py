"""Start children that cannot outlive the supervising process."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import bertjob_local
from bertjob_local.parts.part import Part

MARKER = "BERTJOB_LOCAL_CLUSTER"
"""Environment variable that every process of one cluster inherits; its value names the cluster."""

_PR_SET_PDEATHSIG = 1  # Source: prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


def spawn(part: Part, *, log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Return the running child; its output goes to the end of *log*."""
    with log.open("ab") as out:
        return subprocess.Popen(
            part.argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**env, **part.env},
            # A group of its own: Ctrl-C at a terminal reaches the owner alone.
            process_group=0,
            # Safe because the supervising process has one thread, which also is the thread whose
            # end the kernel would take for the parent's end.
            preexec_fn=_die_with_parent(part.death_signal, parent=os.getpid()),  # noqa: PLW1509
        )


def child_env(own: Mapping[str, str], *, cluster_id: str | None = None) -> dict[str, str]:
    """Return *own*, able to import us, and with the cluster's marker unless the id is None."""
    home = str(Path(bertjob_local.__file__).parents[1])
    path = os.pathsep.join((home, *filter(None, [own.get("PYTHONPATH")])))
    marker = {} if cluster_id is None else {MARKER: cluster_id}
    return {**own, "PYTHONPATH": path, **marker}


def _die_with_parent(death_signal: signal.Signals, *, parent: int) -> Callable[[], None]:
    def before_exec() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # the parent ended before the line above
            os._exit(1)

    return before_exec


def marked_pids(cluster_id: str) -> list[int]:
    """Return the processes of this user that carry the cluster's marker, this one excepted."""
    wanted = f"{MARKER}={cluster_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if wanted in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def kill_marked(cluster_id: str) -> int:
    """Kill every process that carries the cluster's marker; return how many there were."""
    pids = marked_pids(cluster_id)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(pids)
