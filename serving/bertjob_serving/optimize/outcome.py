"""What building and measuring one candidate gave: committed to storage, so that it is not done twice."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from bertjob_api.digest import canonical_json
from bertjob_api.status import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds for one text at a time."""

    p50_ms: float
    p99_ms: float
    fixed_p50_ms: float
    """Median for a text of ``Outcome.fixed_tokens``."""
    fixed_p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One candidate, measured."""

    method: str
    answers: tuple[float, ...]
    """To all held-out texts, one after another, as the task reduces its outputs."""
    latency: Latency
    fp32_latency: Latency
    """Of the FP32 engine in the same interleaved run."""
    speedups: tuple[float, ...]
    """FP32 time over own time, in each round at the data's real lengths."""
    fixed_tokens: int
    """Length of the text that every candidate is timed with too: 128, or the greatest length when that is less."""
    fixed_speedups: tuple[float, ...]
    """The same as ``speedups`` for this text."""
    weights_bytes: int
    peak_bytes: int | None
    """Most memory of a process that serves it; None: this system does not tell."""
    engine: str
    """Name, version and threads of what computed it."""
    cpu: str
    """Type of the CPU; figures of another one do not count."""

    def to_json(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the outcome that ``to_json`` wrote."""
        return cls(**_fields(json.loads(data)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A candidate's outcome and where its artifact is published."""

    outcome: Outcome
    artifact: Artifact | None
    """None: it is shown, and never served."""

    def to_json(self) -> bytes:
        """Return the content of ``candidates/METHOD.json``."""
        artifact = None if self.artifact is None else asdict_artifact(self.artifact)
        return canonical_json({"outcome": asdict(self.outcome), "artifact": artifact})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record; raises ValueError, KeyError or TypeError when it is of another version."""
        value = json.loads(data)
        outcome = Outcome.from_json(json.dumps(value["outcome"]).encode())
        artifact = value["artifact"]
        return cls(outcome=outcome, artifact=None if artifact is None else Artifact(**artifact))


def _fields(value: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an outcome from its JSON."""
    plain = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
    return plain | {key: Latency(**value[key]) for key in ("latency", "fp32_latency")}


def asdict_artifact(artifact: Artifact) -> dict[str, Any]:
    """Return the fields of an artifact reference."""
    return {"uri": artifact.uri, "sha256": artifact.sha256, "size_bytes": artifact.size_bytes}
