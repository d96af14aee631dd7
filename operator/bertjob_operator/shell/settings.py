"""What whoever starts the operator may set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from bertjob_operator.plan import Platform

PREFIX: Final = "BERTJOB_OPERATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one operator process; the defaults suit a run on one machine."""

    platform: Platform = field(default_factory=Platform)
    namespace: str | None = None
    """Namespace that is looked after; None: all."""
    progress_interval: timedelta = timedelta(seconds=10)
    """How often training and optimize pods are asked for their progress."""
    workers: int = 8
    """BertJobs that are looked at at the same time."""
    local_files: bool = True
    """Accept file:// URIs: admission on a cluster refuses them anyway."""
    instance: str = "bertjob-operator"
    """Name of this process in events and in the Lease."""


def from_env(env: Mapping[str, str]) -> Settings:
    """
    Return the settings in the environment: ``BERTJOB_OPERATOR_`` and the field's name in capitals.

    Raises:
        ValueError: a value cannot be read; the message names the variable.

    """
    base, platform = Settings(), Platform()
    return Settings(
        platform=Platform(
            trainer_image=_get(env, "TRAINER_IMAGE", platform.trainer_image),
            image_pull_policy=_get(env, "IMAGE_PULL_POLICY", platform.image_pull_policy),
            node_grace=_seconds(env, "NODE_GRACE_SECONDS", platform.node_grace),
            stall_after=_seconds(env, "STALL_SECONDS", platform.stall_after),
            shared_memory=_get(env, "SHARED_MEMORY", platform.shared_memory),
            scratch=env.get(f"{PREFIX}SCRATCH") or None,
        ),
        namespace=env.get(f"{PREFIX}NAMESPACE") or None,
        progress_interval=_seconds(env, "PROGRESS_INTERVAL_SECONDS", base.progress_interval),
        workers=int(_number(env, "WORKERS", base.workers)),
        local_files=_get(env, "LOCAL_FILES", "false").lower() == "true",
        instance=env.get("POD_NAME") or base.instance,
    )


def _get(env: Mapping[str, str], name: str, default: str) -> str:
    return env.get(f"{PREFIX}{name}") or default


def _seconds(env: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    return timedelta(seconds=_number(env, name, default.total_seconds()))


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(f"{PREFIX}{name}")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise ValueError(f"{PREFIX}{name}: got {text!r}, expected a number above 0")
    return value
