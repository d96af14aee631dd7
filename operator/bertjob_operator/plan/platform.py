"""What the administrator of the operator decides for all jobs."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Defaults that no BertJob states itself."""

    trainer_image: str = "bertjob-trainer:latest"
    """Image of store, preflight, training and optimize pods whose spec names none."""
    image_pull_policy: str = "IfNotPresent"
    node_grace: timedelta = timedelta(seconds=30)
    """How long a node may be silent before its pods are given up."""
    stall_after: timedelta = timedelta(minutes=10)
    """How long no step may be done before training counts as stalled."""
    shared_memory: str = "2Gi"
    """Size limit of /dev/shm in training pods."""
    scratch: str | None = None
    """Size limit of /tmp; None: as much as the node has."""
