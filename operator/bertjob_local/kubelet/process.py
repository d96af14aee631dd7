"""One program as a local process tree that ends as a whole."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bertjob_local.kubelet import container_init

MARKER = "BERTJOB_POD_UID"
"""Environment variable of every process of a pod: finds them even when their ``container_init`` was killed."""


class Process:
    """A started program; its whole process tree ends with it, and with this process."""

    def __init__(self, popen: "subprocess.Popen[bytes]", uid: str) -> None:
        self._popen = popen
        self._uid = uid
        self._ended = asyncio.ensure_future(self._watch())

    async def wait(self) -> int:
        """Return the exit code once the program and everything it started have ended; a signal n counts as 128 + n."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """Send SIGTERM to the program alone, as container runtimes do."""
        self._ask(b"T")

    def kill(self) -> None:
        """Send SIGKILL to the program and everything it started."""
        self._ask(b"K")

    async def stop(self, grace_s: float) -> int:
        """Ask to end, kill after *grace_s* seconds, and return the exit code."""
        self.terminate()
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            self.kill()
        return await self.wait()

    def _ask(self, request: bytes) -> None:
        pipe = self._popen.stdin
        assert pipe is not None, "started with a pipe"
        if not pipe.closed:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(request)

    async def _watch(self) -> int:
        loop = asyncio.get_running_loop()
        handle = os.pidfd_open(self._popen.pid)
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
        code = self._popen.wait()
        assert self._popen.stdin is not None, "started with a pipe"
        self._popen.stdin.close()
        if code >= 0:
            return code
        kill_marked(self._uid)  # process 1 itself was killed, so its orphans went elsewhere
        return 128 - code


def start(argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, uid: str) -> Process:
    """
    Start a program without a shell, with exactly *env* and a marker, and return it.

    Args:
        argv: the program and its arguments.
        env: its environment.
        folder: its working directory.
        log: file that stdout and stderr are appended to.
        uid: the pod's uid.

    """
    program = container_init.__file__
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", program, *argv],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**env, MARKER: uid},
            start_new_session=True,
            bufsize=0,  # requests are not held back
        )
    return Process(popen, uid)


def kill_marked(uid: str) -> int:
    """Kill every process of the pod *uid*; return how many there were."""
    wanted = f"{MARKER}={uid}".encode()
    found = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                found += 1
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return found
