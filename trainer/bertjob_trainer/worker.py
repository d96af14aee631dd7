"""
One training process: ``python -m bertjob_trainer.worker`` under torchrun's environment.

Exit codes: 0 trained, 42 user error, 75 try again, 143 saved after SIGTERM (``bertjob_api.termination``).
"""

import os
import sys

from bertjob_api import names, termination
from bertjob_trainer import stop


def main() -> int:
    """Return the exit code."""
    # Before torch: the threads that it and its libraries start inherit which signals are blocked.
    flag = stop.on_sigterm()
    from bertjob_trainer import process, waiting  # noqa: PLC0415
    from bertjob_trainer.memory import Memory  # noqa: PLC0415

    env, memory = dict(os.environ), Memory()
    if names.SPARE_ENV in env:
        numbered = waiting.for_number(env, flag, memory)
        if numbered is None:
            return termination.EVICTED
        env = numbered
    return process.main(env, flag, memory)


if __name__ == "__main__":
    sys.exit(main())
