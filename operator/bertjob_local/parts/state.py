"""What ``state.json`` says: phase, ports and pids of one cluster. No secret is in it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertjob_local.parts.part import Phase

ClusterPhase = Literal["starting", "ready", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """One part as it was when the file was written."""

    phase: Phase
    pid: int | None = None
    """None: no process."""
    port: int | None = None
    """None: it listens nowhere, or the part does not say."""
    restarts: int = 0
    """Times it was started again after it had ended by itself."""
    ready_s: float | None = None
    """Seconds from its start until it was ready or done; None: not yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole cluster."""

    phase: ClusterPhase
    message: str = ""
    """Why it failed; empty otherwise."""
    supervisor: int
    """Pid of the supervising process."""
    server: str
    """Address of the API server."""
    kubeconfig: str
    """Path of the administrator's kubeconfig."""
    s3_endpoint: str | None
    """None: no S3 gateway was asked for."""
    ready_s: float | None = None
    """Seconds from the supervising process's start until every part was ready; None: not yet."""
    parts: Mapping[str, PartState] = field(default_factory=dict)


def encode(state: State) -> str:
    """Return *state* as JSON text."""
    return json.dumps(asdict(state), indent=1)


def decode(text: str) -> State:
    """Return the state in JSON *text*; ValueError when it is not one."""
    raw: dict[str, Any] = json.loads(text)
    try:
        named = {name: PartState(**part) for name, part in raw.pop("parts").items()}
        return State(**raw, parts=named)
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"not a state file of this version: {error}; run `down` and `up` again"
        raise ValueError(msg) from error


def write(state: State, path: Path) -> None:
    """Replace the state file in one step, so that a reader never sees half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(encode(state))
    fresh.replace(path)
