"""How fast the embedded cluster's controllers act."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times; Kubernetes' own are longer, and a person waits for these."""

    job_backoff: timedelta = timedelta(seconds=1)
    """Before a failed pod of a Job is replaced; doubles with each failure. Kubernetes: 10 s."""
    max_job_backoff: timedelta = timedelta(minutes=10)
    node_grace: timedelta = timedelta(seconds=8)
    """Silence after which a node counts as lost. Kubernetes: 50 s."""
    evict_after: timedelta = timedelta(seconds=30)
    """From the loss of a node to the deletion of its pods. Kubernetes: 300 s."""
