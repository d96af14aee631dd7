"""
Probes: is a container started, alive, ready.

Source: Kubernetes API reference, "Probe": defaults and counting.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

_SPEAKS_HTTP = 200
_ERRORS_FROM = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How often a probe is made and how many answers decide."""

    delay_s: float
    period_s: float
    timeout_s: float
    failures: int
    successes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Equal answers in a row, and the verdict so far."""

    holds: bool
    streak: int = 0
    """Positive: successes; negative: failures."""


def timing(probe: Mapping[str, Any]) -> Timing:
    """Return the probe's timing, defaults filled in."""
    return Timing(
        delay_s=probe.get("initialDelaySeconds", 0),
        period_s=probe.get("periodSeconds", 10),
        timeout_s=probe.get("timeoutSeconds", 1),
        failures=probe.get("failureThreshold", 3),
        successes=probe.get("successThreshold", 1),
    )


def tallied(tally: Tally, success: bool, timing: Timing) -> Tally:  # noqa: FBT001
    """Return the tally after one more answer."""
    streak = max(tally.streak, 0) + 1 if success else min(tally.streak, 0) - 1
    if streak >= timing.successes:
        return Tally(holds=True, streak=streak)
    if -streak >= timing.failures:
        return Tally(holds=False, streak=streak)
    return replace(tally, streak=streak)


Exec = Callable[[list[str]], Awaitable[int]]
"""Runs a command as the container would, and returns its exit code."""


async def check(probe: Mapping[str, Any], *, host: str, ports: Mapping[str, int], run: Exec) -> bool:
    """
    Return whether one probe succeeds within its timeout.

    Args:
        probe: core/v1 Probe.
        host: the pod's address.
        ports: the container's ports by name.
        run: runs the command of an ``exec`` probe.

    """
    try:
        async with asyncio.timeout(timing(probe).timeout_s):
            if "exec" in probe:
                return await run(list(probe["exec"]["command"])) == 0
            action = probe.get("httpGet") or probe["tcpSocket"]
            port = action["port"]
            number = ports[port] if isinstance(port, str) and not port.isdigit() else int(port)
            target = action.get("host") or host
            return await (_http(action, target, number) if "httpGet" in probe else _tcp(target, number))
    except (OSError, TimeoutError, ValueError, LookupError, EOFError):
        return False


async def _tcp(host: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return True


async def _http(action: Mapping[str, Any], host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/bertjob", "Connection": "close"}
        headers |= {each["name"]: each["value"] for each in action.get("httpHeaders", ())}
        lines = [f"GET {action.get('path', '/')} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        line = await reader.readuntil(b"\n")
        return _SPEAKS_HTTP <= int(line.split()[1]) < _ERRORS_FROM
    finally:
        writer.close()


class Verdicts:
    """Repeats a probe and tells when its verdict changes."""

    def __init__(self, once: Callable[[], Awaitable[bool]], timing: Timing, *, at_first: bool | None) -> None:
        self._once = once
        self._timing = timing
        self._known = at_first
        """What holds before the first verdict; None: nothing."""
        self._tally = Tally(holds=bool(at_first))
        self._pause_s = timing.delay_s

    async def changed(self) -> bool:
        """Return the next verdict that differs from the one before."""
        while True:
            await asyncio.sleep(self._pause_s)
            self._pause_s = self._timing.period_s
            self._tally = tallied(self._tally, await self._once(), self._timing)
            is_decided = self._tally.streak >= self._timing.successes or -self._tally.streak >= self._timing.failures
            if is_decided and self._tally.holds != self._known:
                self._known = self._tally.holds
                return self._tally.holds
