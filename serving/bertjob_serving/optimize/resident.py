"""
The memory that serving one artifact takes, measured in a process that does nothing else.

``python -m bertjob_serving.optimize.resident ENGINE FOLDER THREADS TOKENS`` loads it, answers one text of that many tokens and
prints the most memory that it ever had.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np

from bertjob_serving import engine

_STATUS: Final = Path("/proc/self/status")
_TIMEOUT_S: Final = 600.0


def peak_bytes(name: str, folder: Path, *, threads: int, tokens: int) -> int | None:
    """Return the peak resident bytes of a process that serves *folder* with the engine *name*, or None where it cannot."""
    if not _STATUS.is_file():
        return None
    argv = [sys.executable, "-m", __name__, name, str(folder), str(threads), str(tokens)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False, timeout=_TIMEOUT_S)
    return int(done.stdout) if done.returncode == 0 else None


def main(name: str, folder: Path, *, threads: int, tokens: int) -> int:
    """Print the peak resident bytes and return the exit code."""
    own = engine.library(name).compiled(folder, threads=threads)
    own.logits_of(np.ones(tokens, np.int32))
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    sys.stdout.write(f"{int(line.split()[1]) * 1024}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), threads=int(sys.argv[3]), tokens=int(sys.argv[4])))
