"""
What the rules need to know of each child, as small frozen types.

Parsed once (``reading``), so that no rule touches the spelling of Kubernetes. Absent is None everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from bertjob_api.cluster import Object
from bertjob_api.status import HistoryEntry, LastFailure
from bertjob_api.termination import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a pod's container ended."""

    exit_code: int
    reason: str
    """CamelCase cause from the container runtime: Error, OOMKilled, Completed."""
    message: str
    """Termination message as text; "" when there was none."""
    result: Result | None
    """The message as our programs write it; None when it is none of theirs."""
    time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod of the job, or one predictor pod."""

    name: str
    uid: str
    phase: str
    """Pending, Running, Succeeded, Failed or Unknown."""
    ready: bool = False
    scheduled: bool = False
    node: str | None = None
    ip: str | None = None
    index: int | None = None
    """Completion index; None outside Indexed Jobs."""
    deletion: datetime | None = None
    """When its grace ends, if it is being deleted."""
    disrupted: bool = False
    """The infrastructure ended it (DisruptionTarget)."""
    trouble: str | None = None
    """Why a container waits, if that is not part of a normal start: CrashLoopBackOff, ImagePullBackOff."""
    crashes: int = 0
    """Restarts of its containers by the kubelet."""
    ended: Ended | None = None
    last_words: str | None = None
    """Message of the newest crash of a container that is restarted; None: it has not crashed."""
    source_uri: str | None = None
    """What KServe has it download; None outside serving."""
    reason: str | None = None
    """``status.reason``, such as Evicted."""
    conditions: tuple[Mapping[str, Any], ...] = ()
    """core/v1 PodCondition objects, kept whole because a status patch replaces the list."""


class Pods(tuple[Pod, ...]):  # noqa: SLOT001  # what is found once is kept in __dict__
    """
    The pods of one Job, by index and name, and what rules ask of all of them.

    Each answer is found once: a Job may have ten thousand pods, and a plan asks again and again.
    """

    @cached_property
    def present(self) -> tuple[Pod, ...]:
        """Those that run or have ended well."""
        return tuple([pod for pod in self if pod.phase == "Succeeded" or (pod.phase == "Running" and not pod.deletion)])

    @cached_property
    def running(self) -> dict[str, Pod]:
        """Those that run and stay, by name."""
        return {pod.name: pod for pod in self.present if pod.phase == "Running"}

    @cached_property
    def ended(self) -> tuple[Pod, ...]:
        """Those that have ended."""
        return tuple([pod for pod in self if pod.ended is not None])

    @cached_property
    def placed(self) -> frozenset[int | None]:
        """Completion indices of those that have a node and have not failed."""
        return frozenset([pod.index for pod in self if pod.scheduled and pod.phase != "Failed"])

    @cached_property
    def nodes(self) -> frozenset[str]:
        """Nodes of all of them."""
        return frozenset([pod.node for pod in self if pod.node is not None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What Kueue has decided about a Job."""

    name: str
    uid: str
    active: bool
    """False: somebody took it out of the queue."""
    admitted: bool
    evicted: bool
    """It was admitted, and its quota has gone to somebody else."""
    evictions: int
    """How often that was so, without the times at which it was taken out of the queue."""
    message: str | None
    """Why it is not admitted, in Kueue's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch/v1 Job with its pods."""

    name: str
    uid: str
    created: datetime | None
    completions: int
    suspended: bool
    complete: bool
    failed: bool
    failed_reason: str | None
    """Reason of the Failed condition: BackoffLimitExceeded, PodFailurePolicy, DeadlineExceeded."""
    failed_message: str | None
    finished: datetime | None
    """When it became complete or failed, by the server's clock."""
    settling: bool = False
    """Its end is so new to us that the ends of its pods may be seen later."""
    lingering: bool = False
    """A pod has brought the result long ago, and others still run."""
    spec: Object
    """Its live spec: most of it is immutable, so an update sends the same."""
    started: datetime | None = None
    """When its pods were asked for last: at its creation or at the end of its last suspension."""
    version: str = ""
    """Its resourceVersion."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    disrupted: frozenset[str] = frozenset()
    """Uids, shortened, of pods that were seen to be ended by the infrastructure; the pods may be gone."""
    pods: Pods = field(default_factory=Pods)
    workloads: tuple[Workload, ...] = ()
    """Kueue's unfinished Workloads of it, by name; empty: no quota is asked for, or not yet."""

    @property
    def over(self) -> bool:
        """Tell whether it has ended, well or not."""
        return self.complete or self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The store's Service."""

    name: str
    uid: str
    cluster_ip: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceService:
    """KServe's object, with the few fields that a rollout uses."""

    name: str
    uid: str
    resource_version: str
    storage_uri: str | None
    """None: it serves something that is not set by ``model.storageUri``."""
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The predictor's Deployment."""

    source_uri: str | None
    """Model of its pod template."""
    current: bool
    """Its controller has seen the newest generation."""
    wanted: int
    replicas: int
    updated: int
    available: int
    terminating: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """A rollout under way, written before the first change: whoever goes on after a crash finds what to go back to."""

    job: str
    """Name of the BertJob."""
    uid: str
    """Its uid."""
    source: str | None
    """Model that was served before; None: the InferenceService is new."""
    target: str
    started: datetime
    verdict: str | None
    """Successful or Failed; None: under way."""
    message: str | None = None
    """Why it failed, as long as the pods still showed it; None: it has not."""
    failure: LastFailure | None = None
    """The pod that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The ConfigMap with the models of one InferenceService."""

    entries: tuple[HistoryEntry, ...] = ()
    """Newest first."""
    rollout: RolloutRecord | None = None
