"""The children of the supervising process: which phase each is in, and the steps between phases."""

import os
import signal
import ssl
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bertjob_local.parts import child, probe
from bertjob_local.parts.layout import Layout
from bertjob_local.parts.part import Part, Phase, is_up, phase_after_exit, startable
from bertjob_local.parts.state import PartState

_RESTART_PAUSE_S = 1.0
"""Between an unasked end and the next start, so that a part that cannot run does not spin."""

# Together with the sweep after them they stay below the 5 s that are promised for an end.
_KUBELET_GRACE_S = 3.0
"""It gives its pods 2 s."""
_REST_GRACE_S = 1.0


@dataclass(slots=True)
class Running:
    """What is known of one part."""

    part: Part
    phase: Phase = "waiting"
    process: subprocess.Popen[bytes] | None = None
    pidfd: int | None = None
    wanted: bool = True
    was_ready: bool = False
    started_at: float = 0.0
    not_before: float = 0.0
    ready_s: float | None = None
    restarts: int = 0


class Children:
    """All parts of one cluster; every method returns at once but for a probe's time-out."""

    def __init__(
        self, parts: tuple[Part, ...], *, layout: Layout, env: Mapping[str, str], trust: ssl.SSLContext
    ) -> None:
        self._layout = layout
        self._env = env
        self._trust = trust
        self._all = {part.name: Running(part) for part in parts}

    def phases(self) -> dict[str, Phase]:
        """Return the phase of each part."""
        return {name: each.phase for name, each in self._all.items()}

    def are_up(self) -> bool:
        """Return whether every part is ready or done."""
        return is_up(self.phases())

    def failed(self) -> list[str]:
        """Return the parts that ended before they were ready."""
        return [name for name, phase in self.phases().items() if phase == "failed"]

    def pidfds(self) -> list[int]:
        """Return one descriptor per process; it becomes readable when the process ends."""
        return [each.pidfd for each in self._all.values() if each.pidfd is not None]

    def step(self) -> None:
        """Take note of ended processes, start what can start, and ask the starting ones."""
        now = time.monotonic()
        for each in self._all.values():
            self._note_exit(each, now)
        parts = tuple(each.part for each in self._all.values())
        for part in startable(parts, phases=self.phases()):
            if now >= self._all[part.name].not_before:
                self._start(self._all[part.name], now)
        for each in self._all.values():
            if each.phase == "starting" and not each.part.task:
                self._ask(each)

    def send(self, name: str, number: signal.Signals, *, wanted: bool) -> None:
        """Signal one part's process; with *wanted* False it is not started again by itself."""
        each = self._named(name)
        each.wanted = wanted
        if each.process is not None:
            each.process.send_signal(number)
        elif not wanted:
            each.phase = "stopped"

    def start(self, name: str) -> None:
        """Start a stopped part again at the next step; one that runs is left alone."""
        each = self._named(name)
        each.wanted = True
        each.not_before = 0.0
        if each.process is None:
            each.phase = "waiting"

    def end(self) -> None:
        """End all processes: the kubelet first, so that its pods end through it, then the rest at once."""
        self._end([each for each in self._all.values() if each.part.name == "kubelet"], grace_s=_KUBELET_GRACE_S)
        self._end(list(self._all.values()), grace_s=_REST_GRACE_S)

    def states(self) -> dict[str, PartState]:
        """Return what the state file says of each part."""
        return {
            name: PartState(
                phase=each.phase,
                pid=each.process.pid if each.process else None,
                port=each.part.port,
                restarts=each.restarts,
                ready_s=None if each.ready_s is None else round(each.ready_s, 2),
            )
            for name, each in self._all.items()
        }

    def _named(self, name: str) -> Running:
        if name not in self._all:
            msg = f"part {name!r} does not run here; expected one of {', '.join(self._all)}"
            raise ValueError(msg)
        return self._all[name]

    def _start(self, each: Running, now: float) -> None:
        each.process = child.spawn(each.part, log=self._layout.log_of(each.part.name), env=self._env)
        each.pidfd = os.pidfd_open(each.process.pid)
        each.phase, each.started_at, each.ready_s = "starting", now, None

    def _ask(self, each: Running) -> None:
        if each.part.probe is None or probe.answers(each.part.probe, trust=self._trust):
            each.phase, each.was_ready = "ready", True
            each.ready_s = time.monotonic() - each.started_at

    def _note_exit(self, each: Running, now: float) -> None:
        if each.process is None or (code := each.process.poll()) is None:
            return
        assert each.pidfd is not None, "a process without its descriptor"
        os.close(each.pidfd)
        each.process, each.pidfd = None, None
        each.phase = phase_after_exit(each.part, code=code, wanted=each.wanted, was_ready=each.was_ready)
        if each.phase == "done":
            each.ready_s = now - each.started_at
        if each.phase == "waiting":
            each.restarts += 1
            each.not_before = now + _RESTART_PAUSE_S

    def _end(self, some: list[Running], *, grace_s: float) -> None:
        alive = [each.process for each in some if each.process is not None]
        for each in some:
            if each.process is not None:
                each.process.send_signal(signal.SIGCONT)  # a paused one could not hear the next
                each.process.send_signal(each.part.stop_signal)
        deadline = time.monotonic() + grace_s
        for process in alive:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for each in some:
            self._note_exit(each, time.monotonic())
            each.phase = "stopped"
