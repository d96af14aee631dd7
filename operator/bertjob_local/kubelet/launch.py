"""What exactly is started for a container: argv, environment, folders."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertjob_local.kubelet import env, images, substitution, volumes
from bertjob_local.kubelet.env import ConfigError, Surroundings

_TEMPORARY = "/tmp"  # noqa: S108  # the name inside the container
_DEFAULT_MESSAGE = "/dev/termination-log"
MAX_MESSAGE_BYTES = 4096
_MAX_LOG_BYTES, _MAX_LOG_LINES = 2048, 80
"""Of a message taken from the log. Source: Kubernetes documentation, "Customizing the termination message"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of one container."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    log: Path
    message: Path
    """File for the termination message."""
    local: Callable[[str], str]
    """Replaces the container's mount paths in a text."""


def plan(
    container: Mapping[str, Any],
    around: Surroundings,
    *,
    root: Path,
    folders: Mapping[str, Path],
    mapped: Mapping[str, str],
) -> Launch:
    """
    Return what to start, and make the folders it needs.

    Args:
        container: core/v1 Container.
        around: what it may refer to.
        root: the pod's folder.
        folders: the pod's volumes.
        mapped: commands of images.

    Raises:
        ConfigError, ImageError: it cannot be started as it stands.

    """
    name = container["name"]
    message = root / "messages" / name
    mounts = [
        *volumes.mounts(container, folders),
        (container.get("terminationMessagePath") or _DEFAULT_MESSAGE, message),
    ]
    local = substitution.substitution(mounts)
    given = env.environment(container, around)
    words = images.argv(container, mapped)
    # our interpreter is a path of this machine already, also when it lies below a mount path such as /tmp
    argv = [word if word == sys.executable else local(substitution.expanded(word, given)) for word in words]
    folder = Path(local(container["workingDir"])) if "workingDir" in container else root / "work" / name
    try:
        for each in (folder, message.parent):
            each.mkdir(parents=True, exist_ok=True)
        message.write_bytes(b"")
    except OSError as error:
        raise ConfigError(f"container {name}: {error}") from error
    variables = {key: local(value) for key, value in given.items()}
    base = base_env(os.environ, temporary=local(_TEMPORARY))
    return Launch(
        argv=tuple(argv),
        env={**base, **variables},
        folder=folder,
        log=root / f"{name}.log",
        message=message,
        local=local,
    )


def base_env(own: Mapping[str, str], *, temporary: str) -> dict[str, str]:
    """
    Return what every container gets beside its own variables: enough to find programs and the running code.

    Args:
        own: environment of the kubelet.
        temporary: the pod's folder for temporary files, or /tmp when it has none of its own.

    """
    outside = [path for path in sys.path if path and not path.startswith((sys.prefix, sys.base_prefix))]
    base = {
        "PATH": own.get("PATH", os.defpath),
        "LANG": own.get("LANG", "C.UTF-8"),
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in outside),  # noqa: PTH100  # a text
    }
    return base if temporary == _TEMPORARY else {**base, "TMPDIR": temporary}


def message_of(launch: Launch, *, policy: str, exit_code: int, log_start: int) -> str:
    """
    Return what a container said at its end.

    Args:
        launch: its start.
        policy: its ``terminationMessagePolicy``.
        exit_code: how it ended.
        log_start: offset in bytes at which its own part of the log begins.

    """
    data = _tail(launch.message, 0, MAX_MESSAGE_BYTES, head=True)
    if not data and policy == "FallbackToLogsOnError" and exit_code != 0:
        lines = _tail(launch.log, log_start, _MAX_LOG_BYTES, head=False).splitlines(keepends=True)
        data = b"".join(lines[-_MAX_LOG_LINES:])
    return data.decode(errors="replace")


def _tail(path: Path, start: int, limit: int, *, head: bool) -> bytes:
    """Return at most *limit* bytes of a file from *start*: its first or its last ones."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(start if head else max(start, end - limit))
            return file.read(limit)
    except FileNotFoundError:
        return b""
