"""Work in a process of its own: its crash, hang or hunger for memory ends it alone."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_GRACE_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""


def run(argv: Sequence[str], *, timeout_s: float) -> str | None:
    """
    Run a command to its end and return None, or a sentence on why it did not end well.

    Its output goes where ours goes. When this call is left by an exception, the command and its children are ended.
    """
    process = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return f"was stopped after {timeout_s:.0f} s without an end; give the pod more CPU or fewer examples"
    finally:
        _end(process)
    return ending(code)


def ending(code: int) -> str | None:
    """Return what a return code of ``Popen`` means, or None when it means success."""
    if code == 0:
        return None
    if code == -signal.SIGKILL:
        return "was killed by signal 9, most likely for memory; raise the memory limit in spec.optimize.resources"
    if code < 0:
        return f"crashed with signal {-code} ({signal.Signals(-code).name}); see the log above"
    return f"ended with exit code {code}; see the log above"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of the command's process group and reap the command."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_GRACE_S)


def be_expendable() -> None:
    """End with the parent, and be the first to go when memory runs out."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000", encoding="ascii")
