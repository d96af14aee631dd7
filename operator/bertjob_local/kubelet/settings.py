"""How fast the process kubelet acts, and what it knows of images and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bertjob_api.cluster import Object
from bertjob_local.kubelet.volumes import Tokens


async def no_tokens(pod: Object, source: Mapping[str, Any]) -> str | None:  # noqa: ARG001
    """Return None: there is no API server that would take a token."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices of one kubelet; the times are Kubernetes' own unless a person waits for them."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Pattern of image names to the command line that stands for the image's own command."""
    tokens: Tokens = no_tokens
    api_server: Mapping[str, str] = field(default_factory=dict)
    """Variables by which every container finds the API server; empty: there is none."""
    crash_backoff: timedelta = timedelta(seconds=10)
    """Before the second restart of a container; doubles with each. The first restart is at once."""
    max_crash_backoff: timedelta = timedelta(minutes=5)
    forget_crashes_after: timedelta = timedelta(minutes=10)
    """A container that ran this long starts with a fresh back-off."""
    retry: timedelta = timedelta(seconds=1)
    """Between attempts to read a missing ConfigMap or Secret, or to reach the cluster."""
    heartbeat: timedelta = timedelta(seconds=2)
    """Between two reports of a node."""
    leases: bool = False
    """Renew a Lease for every node, as a real node lifecycle controller expects."""
    shutdown_grace: timedelta = timedelta(seconds=6)
    """What pods get to end when the kubelet itself ends; a predictor goes on answering for three of them."""
