"""What one part is: a command, what it waits for, and how it shows that it is ready."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from signal import SIGKILL, SIGTERM, Signals
from typing import Literal

KUBELET_MODULE = "bertjob_local.kubelet"
"""Module of the process kubelet: the one place that names it."""

Phase = Literal["waiting", "starting", "ready", "done", "stopped", "failed"]
"""``done`` is a task that ended well; ``stopped`` is a part that was asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A GET that answers 200, with an acceptable body, once the part is ready."""

    url: str
    token: str | None = field(default=None, repr=False)
    """Bearer token; None: no authentication."""
    accepts: Callable[[bytes], bool] | None = None
    """What the body must satisfy as well; None: anything will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One child of the supervising process."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment; secrets go here or into files, never into argv."""
    needs: tuple[str, ...] = ()
    """Parts that are ready, and tasks that are done, before this one starts."""
    probe: Probe | None = None
    """None: ready as soon as it runs, or for a task when it has ended."""
    task: bool = False
    """True: runs once and ends with 0."""
    port: int | None = None
    stop_signal: Signals = SIGTERM
    death_signal: Signals = SIGKILL
    """What the kernel sends when the supervising process dies without a word."""


def startable(parts: tuple[Part, ...], *, phases: Mapping[str, Phase]) -> list[Part]:
    """Return the waiting parts whose needs are all ready or done."""
    met = {name for name, phase in phases.items() if phase in {"ready", "done"}}
    return [part for part in parts if phases[part.name] == "waiting" and met.issuperset(part.needs)]


def phase_after_exit(part: Part, *, code: int, wanted: bool, was_ready: bool) -> Phase:
    """
    Return the phase of a part whose process has ended.

    Args:
        part: what ended.
        code: its exit status; negative for a signal.
        wanted: False when it was asked to stop.
        was_ready: it had been ready at least once in its life.

    Returns:
        ``waiting`` means that it is started again; ``failed`` ends a start of the whole cluster.

    """
    if not wanted:
        return "stopped"
    if part.task:
        return "done" if code == 0 else "failed"
    return "waiting" if was_ready else "failed"


def is_up(phases: Mapping[str, Phase]) -> bool:
    """Return whether every part is ready or done."""
    return all(phase in {"ready", "done"} for phase in phases.values())
