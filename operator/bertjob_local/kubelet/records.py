"""What the kubelet knows of a container, and what follows from it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bertjob_api.cluster import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not started."""

    reason: str = "PodInitializing"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Started."""

    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Started and ended."""

    exit_code: int
    message: str = ""
    since: datetime
    until: datetime
    reason: str | None = None
    """None: Completed or Error, as the exit code says."""


State = Waiting | Running | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One container of a pod."""

    name: str
    image: str = ""
    state: State = Waiting()
    last: Ended | None = None
    """How it ended the time before."""
    restarts: int = 0
    is_started: bool = False
    """It runs and its startup probe has succeeded."""
    is_ready: bool = False
    """It runs and its readiness probe succeeds."""


def runs_again(policy: str, exit_code: int) -> bool:
    """Return whether a container is started again under its pod's restart policy."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def pod_phase(policy: str, *, init: Iterable[Record], main: Iterable[Record]) -> str:
    """
    Return the phase of a pod from its containers.

    Source: Kubernetes documentation, "Pod Lifecycle", pod phase.
    """
    for record in init:
        state = record.state
        if not isinstance(state, Ended) or state.exit_code != 0:
            failed = isinstance(state, Ended) and not runs_again(policy, state.exit_code)
            return "Failed" if failed else "Pending"
    states = [record.state for record in main]
    final = [state for state in states if isinstance(state, Ended) and not runs_again(policy, state.exit_code)]
    if len(final) == len(states):
        return "Succeeded" if all(state.exit_code == 0 for state in final) else "Failed"
    has_run = any(not isinstance(record.state, Waiting) or record.last is not None for record in main)
    return "Running" if has_run else "Pending"


def known_ends(status: Object) -> dict[str, int]:
    """Return how often each container was started before, by name, from a status that another kubelet wrote."""
    found = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return {each["name"]: each.get("restartCount", 0) + ("running" in each.get("state", {})) for each in found}
