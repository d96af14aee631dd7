"""Resident memory of the operator's own process, started as in a pod, on an API server that shows jobs in training."""

import asyncio
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.reconcile.ceiling import CHILDREN, PODS, in_training
from support.benching import Row, row
from support.frozen import copies
from support.frozen_api import FrozenApi, operator, serving

from bertjob_api.cluster import Object

JOBS: Final = 1000
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def rows() -> list[Row]:
    """Return the memory without jobs and with many."""
    objects = asyncio.run(in_training())
    empty, _ = asyncio.run(_resident(objects, 0))
    full, peak = asyncio.run(_resident(objects, JOBS))
    held = f"{JOBS} jobs with {PODS} training pods each"
    return [
        row("memory-empty", "resident memory without jobs", empty, "MiB", better="lower"),
        row("memory", f"resident memory, {held}", full, "MiB", better="lower", goal=100),
        row("memory-peak", f"highest resident memory, {held}", peak, "MiB", better="lower"),
    ]


async def _resident(objects: list[Object], count: int) -> tuple[float, float]:
    """Return the MiB of an operator that has looked at *count* jobs, and the most it ever had."""
    shown = {kind: list(apart(copies(objects, kind, name="sentiment", count=count))) for kind in CHILDREN}
    api = FrozenApi(lambda kind: shown.get(kind, ()))
    with tempfile.TemporaryDirectory() as folder:
        async with serving(api, Path(folder)) as env, operator(Path(folder), env, turns=count) as process:
            while not all(api.is_watched(kind) for kind in CHILDREN):  # noqa: ASYNC110  # another process does it
                await asyncio.sleep(0.1)
            assert not api.writes, f"jobs in training are written to: {api.writes[:3]}"
            return _memory(process.pid)


def _memory(pid: int) -> tuple[float, float]:
    """Return the MiB that a process has and the most it ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return _mib(fields["VmRSS"]), _mib(fields["VmHWM"])


def apart(objects: Iterable[Object]) -> Iterator[Object]:
    """Yield *objects*, each with times of its own, as jobs that were not made in one second have them."""
    for index, each in enumerate(objects):
        yield _moved(each, f"2026-01-01T{index // 3600 % 24:02}:{index // 60 % 60:02}:{index % 60:02}Z")


def _moved(value: object, time: str) -> Object:
    if isinstance(value, dict):
        return {key: _moved(item, time) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, time) for item in value]  # type: ignore[return-value]
    return time if isinstance(value, str) and _TIME.fullmatch(value) else value  # type: ignore[return-value]


def _mib(field: str) -> float:
    return int(field.split(maxsplit=1)[0]) / 1024
