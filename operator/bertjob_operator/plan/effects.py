"""What a plan is made of: effects as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from bertjob_api.cluster import Object, Ref
from bertjob_api.status import HistoryEntry, LastFailure, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Write one field if it still holds what was seen."""

    ref: Ref
    path: str
    old: object
    new: object
    uid: str
    resource_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove one object; *uid* says which incarnation."""

    ref: Ref
    uid: str
    grace_seconds: int | None = None
    """None: as the object says."""
    status_first: Mapping[str, Any] | None = None
    """Status to write before: a pod of a dead node is replaced only when its phase says Failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for ``kubectl describe``."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    note: str
    key: str
    """Makes its name: the same happening has the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Something that happened to a job, for metrics."""

    metric: Literal["jobs", "gate", "rollouts", "rollbacks", "restarts", "phases"]
    label: str = ""
    """Result, cause or phase."""
    amount: float = 1
    """How often; of a phase: seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One condition as it is now; status None is Unknown."""

    type: str
    status: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One rule's verdict."""

    name: str
    """Name of the rule, for logs and tests."""
    phase: str
    """Word for people."""
    facts: tuple[Fact, ...] = ()
    apply: tuple[Object, ...] = ()
    replace: tuple[Replace, ...] = ()
    delete: tuple[Delete, ...] = ()
    failure: LastFailure | None = None
    """What to show as the newest failure; None: whatever the pods say."""
    rollout: Rollout | None = None
    """State of the rollout; None: as it was."""
    history: tuple[HistoryEntry, ...] | None = None
    """Models of the service from now on; None: as observed."""
    requeue_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, in this order."""

    rule: str
    """Name of the rule that decided."""
    apply: tuple[Object, ...] = ()
    replace: tuple[Replace, ...] = ()
    delete: tuple[Delete, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    """Merge patch of the status; empty: it stands already."""
    events: tuple[Event, ...] = ()
    counts: tuple[Count, ...] = ()
    """To be counted once the status is stored."""
    requeue_after: timedelta | None = None
    """When to look again though nothing changed; None: not."""
