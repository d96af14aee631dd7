"""What to run: the choices that ``up`` hands to the supervising process as one file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

API_ONLY = ("etcd", "apiserver")
"""Enough for API tests: objects are stored and validated, no controller acts on them."""

ALL_PARTS = (*API_ONLY, "controller-manager", "scheduler", "s3", "kserve", "kubelet")
"""Every part, in the order in which ``status`` shows them."""

_NEEDS_APISERVER = ("controller-manager", "scheduler", "kserve", "kubelet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices of one ``up``."""

    parts: tuple[str, ...] = ALL_PARTS
    nodes: int = 3
    """Number of Nodes that the process kubelet registers."""
    images: str | None = None
    """Path of the file that maps images to local commands; None: the kubelet's own."""
    owner_pid: int | None = None
    """Process whose end is the cluster's end too; None: it lives until ``down``."""

    def __post_init__(self) -> None:
        """Raise ValueError for a choice that cannot run."""
        if unknown := sorted(set(self.parts) - set(ALL_PARTS)):
            msg = f"parts: {', '.join(unknown)} unknown; expected some of {', '.join(ALL_PARTS)}"
            raise ValueError(msg)
        wanting = [part for part in _NEEDS_APISERVER if part in self.parts]
        if wanting and not set(API_ONLY) <= set(self.parts):
            msg = f"parts: {', '.join(wanting)} cannot run without {' and '.join(API_ONLY)}; add them"
            raise ValueError(msg)
        if self.nodes < 1:
            msg = f"nodes: got {self.nodes}, expected at least 1"
            raise ValueError(msg)


def write(settings: Settings, path: Path) -> None:
    """Write *settings* for the supervising process to read."""
    path.write_text(json.dumps(asdict(settings)))


def read(path: Path) -> Settings:
    """Return what ``write`` wrote to *path*."""
    raw = json.loads(path.read_text())
    return Settings(**raw | {"parts": tuple(raw["parts"])})
