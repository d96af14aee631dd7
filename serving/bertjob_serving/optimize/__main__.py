"""``python -m bertjob_serving.optimize``: the optimize step of one job, configured by its environment."""

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bertjob_api import contract, names, termination
from bertjob_api.job import parse_job
from bertjob_api.termination import Failure, Result
from bertjob_serving.optimize.run import Inputs, OptimizeError, optimize
from bertjob_storage.protocol import AccessError, NotFoundError, StorageError

_log = logging.getLogger("bertjob_serving.optimize")

_FAILURES: Final[Mapping[type[Exception], tuple[str, int]]] = {
    AccessError: ("StorageRefused", termination.USER_ERROR),
    NotFoundError: ("NotFound", termination.USER_ERROR),
    StorageError: ("StorageUnavailable", termination.RETRY),
    OptimizeError: ("OptimizeFailed", termination.RETRY),
    ValueError: ("BadInput", termination.USER_ERROR),
    OSError: ("SystemError", termination.RETRY),
}
"""Reason and exit code of each expected failure; the first kind that fits counts."""


def main(env: Mapping[str, str]) -> int:
    """Run the step, leave its result in the termination message and return the exit code."""
    result, code = attempt(env)
    if result.failure is not None:
        _log.error("%s: %s", result.failure.reason, result.failure.message)
    message = termination.encode(result)
    target = env.get(names.TERMINATION_LOG_ENV)
    if target:
        Path(target).write_text(message, encoding="ascii")
    return code


def attempt(env: Mapping[str, str]) -> tuple[Result, int]:
    """Return the result and the exit code; every expected failure becomes a result."""
    if (problem := contract.mismatch(env)) is not None:
        return Result(failure=Failure(reason="VersionMismatch", message=problem)), termination.USER_ERROR
    try:
        result = _run(env)
    except (AccessError, NotFoundError, OptimizeError, StorageError, ValueError, OSError) as error:
        reason, code = next(found for kind, found in _FAILURES.items() if isinstance(error, kind))
        return Result(failure=Failure(reason=reason, message=str(error))), code
    return result, termination.OK if result.failure is None else termination.USER_ERROR


def _run(env: Mapping[str, str]) -> Result:
    missing = [name for name in (names.SPEC_FILE_ENV, names.MODEL_URI_ENV, names.MODEL_SHA256_ENV) if not env.get(name)]
    if missing:
        message = f"environment: {', '.join(missing)} not set; start this program as the operator does"
        raise ValueError(message)
    job = parse_job(json.loads(Path(env[names.SPEC_FILE_ENV]).read_text(encoding="utf-8")), local=True)
    with tempfile.TemporaryDirectory(prefix="optimize-", dir=_scratch(env)) as folder:
        return optimize(
            Inputs(
                job=job,
                model_uri=env[names.MODEL_URI_ENV],
                model_sha256=env[names.MODEL_SHA256_ENV],
                scratch=Path(folder),
                live_uri=env.get(names.LIVE_URI_ENV),
                address=env.get(names.POD_IP_ENV),
            )
        )


def _scratch(env: Mapping[str, str]) -> str | None:
    """Return the pod's scratch volume, or None for the system's own."""
    home = env.get("HOME")
    return home if home and os.access(home, os.W_OK) else None


def _terminated(signum: int, _frame: object) -> None:
    """Leave by exception, so that the candidate's process is ended on the way out."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(main(os.environ))
