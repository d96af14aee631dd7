"""Everything that one plan depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bertjob_api.job import BertJob
from bertjob_api.progress import Progress
from bertjob_operator.plan.children import Deployment, History, InferenceService, Job, Pod, Service
from bertjob_operator.plan.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One BertJob and its children at one moment; None and empty: not there."""

    job: BertJob
    now: datetime
    stored: Mapping[str, Any] = field(default_factory=dict)
    """The status as it is stored: defaults that stand in ``job.status`` may be missing there."""
    platform: Platform = field(default_factory=Platform)
    strangers: tuple[str, ...] = ()
    """Children's names that are taken by objects which are not this job's: left over from an earlier job of its name."""
    preflight: Job | None = None
    training: Mapping[int, Job] = field(default_factory=dict)
    """Training Jobs by attempt."""
    optimize: Job | None = None
    store: Pod | None = None
    store_service: Service | None = None
    inference: InferenceService | None = None
    deployment: Deployment | None = None
    predictors: tuple[Pod, ...] = ()
    """Pods of the InferenceService's predictor, by name."""
    history: History | None = None
    progress: Mapping[str, Progress] = field(default_factory=dict)
    """What training pods said last, by pod name."""
    standing: Mapping[str, timedelta] = field(default_factory=dict)
    """For how long the step that a pod reports has not moved, by pod name."""
    silent_nodes: Mapping[str, datetime | None] = field(default_factory=dict)
    """Nodes of our pods that are not Ready, and since when; None: the node is gone."""

    @property
    def training_jobs(self) -> tuple[Job, ...]:
        """Return the training Jobs, oldest attempt first."""
        return tuple(self.training[attempt] for attempt in sorted(self.training))
