"""
The check before training: every problem that can be found without a GPU, in one message.

Ends 0, 42 when the job or its inputs are at fault, or 75 when something outside does not answer. Writes nothing but a probe
object, which it removes.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bertjob_api import contract, names, termination
from bertjob_api.job import parse_job
from bertjob_api.parse import InvalidSpecError
from bertjob_api.termination import Failure, Result
from bertjob_trainer import preflight_checks
from bertjob_trainer.preflight_checks import Problem

_log = logging.getLogger(__name__)


def run(env: Mapping[str, str]) -> tuple[int, Result]:
    """Return exit code and result of the checks for the job that *env* names."""
    if (problem := contract.mismatch(env)) is not None:
        return failed([Problem(code=termination.USER_ERROR, reason="VersionMismatch", message=problem)])
    try:
        job = parse_job(json.loads(Path(env[names.SPEC_FILE_ENV]).read_text()), local=True)
        report = preflight_checks.check(job, env=env)
    except InvalidSpecError as error:
        return failed(
            [Problem(code=termination.USER_ERROR, reason="InvalidSpec", message=each) for each in error.errors]
        )
    except KeyError as error:
        return failed(
            [_bug(f"{error.args[0]} is not set; start this program as the operator does (bertjob_api.commands)")]
        )
    except Exception as error:  # noqa: BLE001  # the outermost frame: whatever it is becomes a sentence
        _log.debug("preflight broke", exc_info=True)
        return failed([_bug(f"{type(error).__name__}: {error}; this is a bug")])
    if report.problems:
        return failed(report.problems)
    return termination.OK, Result(details=report.facts)


def failed(problems: Sequence[Problem]) -> tuple[int, Result]:
    """Return exit code and result for *problems*: 42 if one of them is the user's, all of them in the message."""
    assert problems
    code = max((each.code for each in problems), key=lambda code: code == termination.USER_ERROR)
    reasons = {each.reason for each in problems if each.code == code}
    reason = reasons.pop() if len(reasons) == 1 else "SeveralProblems"
    texts = list(dict.fromkeys(each.message for each in problems))
    message = (
        texts[0] if len(texts) == 1 else "; ".join(f"({number}) {text}" for number, text in enumerate(texts, start=1))
    )
    return code, Result(failure=Failure(reason=reason, message=message))


def _bug(message: str) -> Problem:
    return Problem(code=termination.RETRY, reason="PreflightCrashed", message=message)


def main() -> int:
    """Check, leave the termination message, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    code, result = run(os.environ)
    if result.failure is not None:
        _log.error("preflight: %s: %s", result.failure.reason, result.failure.message)
    for fact in result.details:
        _log.info("preflight: %s", fact)
    target = os.environ.get(names.TERMINATION_LOG_ENV)
    if target:
        Path(target).write_text(termination.encode(result))
    return code


if __name__ == "__main__":
    sys.exit(main())
