"""
What a program tells the operator when it ends: exit code and termination message.

The message is JSON of at most 4 KB, the kubelet's limit (Source: Kubernetes documentation, "Customizing the termination
message"). It is the only way results come back; the operator never reads object storage.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bertjob_api.digest import canonical_json
from bertjob_api.parse import InvalidSpecError, dump, parse
from bertjob_api.status import Artifact, Evaluation

OK: Final = 0
USER_ERROR: Final = 42
"""Bad input, or a model that did not pass; trying again gives the same."""
RETRY: Final = 75
"""Something outside failed; trying again may help. Source: BSD sysexits.h, EX_TEMPFAIL."""
EVICTED: Final = 143
"""Ended by SIGTERM after saving."""

MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a program ended without a result."""

    reason: str
    """CamelCase, becomes the reason of a condition."""
    message: str
    """What, where, got, expected, next step."""
    rank: int | None = None
    """Rank of the failing process; None outside training."""
    step: int | None = None
    """Optimizer step at which it failed; None when not in a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a program brings back."""

    artifact: Artifact | None = None
    """The published model; None for preflight, or when the gate refused every candidate and there is nothing to serve."""
    evaluation: Evaluation | None = None
    """Measurements and verdict, from optimize."""
    metrics: Mapping[str, float] | None = None
    """Metrics of the held-out data, from training: names to fractions."""
    steps: int | None = None
    """Optimizer steps in the model."""
    trained_steps: int | None = None
    """Optimizer steps done by this run; 0 when the committed model was found."""
    failure: Failure | None = None
    """Why it failed; with one, nothing else counts but ``evaluation``."""
    details: tuple[str, ...] = ()
    """Rows worth reading (losing candidates and why they lost); dropped first when the message is too long."""


def encode(result: Result) -> str:
    """Return the message, shortened to ``MAX_BYTES``: details go first, then the failure's text is cut."""
    for candidate in _shorter(result):
        text = canonical_json(_as_dict(candidate)).decode("ascii")
        if len(text) <= MAX_BYTES:
            return text
    message = "a result without details does not fit; this is a bug"
    raise AssertionError(message)


def decode(text: str) -> Result | None:
    """Return the result in a termination message, or None when the program left none (it was killed, or is foreign)."""
    try:
        value = json.loads(text)
        return _from_dict(value) if isinstance(value, dict) else None
    except (ValueError, TypeError, InvalidSpecError):
        return None


def _shorter(result: Result) -> list[Result]:
    kept = [replace(result, details=result.details[:count]) for count in range(len(result.details), -1, -1)]
    if result.failure is None:
        return kept
    bare = replace(result, details=())
    return kept + [
        replace(bare, failure=replace(result.failure, message=_clip(result.failure.message, size)))
        for size in (2000, 1000, 300)
    ]


def _clip(text: str, size: int) -> str:
    """Return the first and last part of *text*: errors name their cause at the end, their place at the start."""
    half = size // 2
    return text if len(text) <= size else f"{text[:half]} ... {text[-half:]}"


def _as_dict(result: Result) -> dict[str, Any]:
    failure = result.failure
    parts: dict[str, Any] = {
        "artifact": dump(result.artifact) if result.artifact else None,
        "evaluation": dump(result.evaluation) if result.evaluation else None,
        "metrics": dict(result.metrics) if result.metrics is not None else None,
        "steps": result.steps,
        "trainedSteps": result.trained_steps,
        "failure": {"reason": failure.reason, "message": failure.message, "rank": failure.rank, "step": failure.step}
        if failure
        else None,
        "details": list(result.details) or None,
    }
    return {key: value for key, value in parts.items() if value is not None}


def _from_dict(value: dict[str, Any]) -> Result:
    artifact, evaluation, failure = value.get("artifact"), value.get("evaluation"), value.get("failure")
    return Result(
        artifact=parse(Artifact, artifact, path="artifact") if artifact else None,
        evaluation=parse(Evaluation, evaluation, path="evaluation") if evaluation else None,
        metrics=value.get("metrics"),
        steps=value.get("steps"),
        trained_steps=value.get("trainedSteps"),
        failure=Failure(**failure) if failure else None,
        details=tuple(value.get("details", ())),
    )
