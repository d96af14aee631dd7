"""
Run a command that dies with its parent: ``python -I -S bound.py PROGRAM ARGUMENT...``.

Torch starts workers in sessions of their own, so without this a killed launcher would leave workers that go on training and
keep collectives alive. Survives exec (Source: prctl(2), PR_SET_PDEATHSIG). Linux only; elsewhere the command just runs.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Replace this process by the command *argv*."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew our wish
            os.kill(os.getpid(), signal.SIGKILL)
    os.execvp(argv[0], argv)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
