"""How training ended, for every node of an attempt, including those that come late."""

import json
import signal
from dataclasses import dataclass
from typing import Self

from bertjob_api import termination
from bertjob_api.termination import Failure, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a launcher ends with."""

    code: int
    """Exit code: ``termination.OK``, ``USER_ERROR``, ``RETRY`` or ``EVICTED``."""
    message: str
    """The termination message."""

    def to_json(self) -> str:
        """Return the spelling for the rendezvous store."""
        return json.dumps({"code": self.code, "message": self.message})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the outcome that another node stored."""
        value = json.loads(text)
        return cls(code=int(value["code"]), message=str(value["message"]))


class FinishedError(Exception):
    """The attempt has ended on another node; this one ends the same way."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"the attempt has ended with {outcome.code}")
        self.outcome = outcome


def failed(code: int, *, reason: str, message: str, rank: int | None = None, step: int | None = None) -> Outcome:
    """Return the outcome of a failure that no worker has described itself."""
    failure = Failure(reason=reason, message=message, rank=rank, step=step)
    return Outcome(code=code, message=termination.encode(Result(failure=failure)))


def how_it_ended(exit_code: int) -> str:
    """Return a phrase for an exit code as ``subprocess`` gives it: negative for a signal."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = "; if nobody sent it, the pod ran out of memory: raise its limit" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
