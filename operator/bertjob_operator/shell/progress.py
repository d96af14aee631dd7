"""
Asks every running training and optimize pod how far it is.

No reconcile waits for an answer: what was said last stands on a board, and a change wakes the job.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

import aiohttp

from bertjob_api import names
from bertjob_api.cluster import Object
from bertjob_api.parse import InvalidSpecError, parse
from bertjob_api.progress import Progress
from bertjob_operator.plan.children import Pod
from bertjob_operator.runtime.store import Store

TIMEOUT: Final = aiohttp.ClientTimeout(total=3)
MAX_BYTES: Final = 64 * 1024
"""Longest answer that is read."""
AT_ONCE: Final = 32
"""Questions under way at the same time."""


class Board:
    """
    The newest answer of each pod that tells its progress.

    Args:
        pods: store of the job's pods.
        changed: called with a pod whose answer is new.
        interval: time between rounds.

    """

    def __init__(self, pods: Store, *, changed: Callable[[Object], None], interval: timedelta) -> None:
        self.answers: dict[str, Progress] = {}
        """By uid of the pod; kept while the pod is there."""
        self._moved: dict[str, float] = {}
        """When the step of a pod last changed, in seconds of the monotonic clock; by uid."""
        self._pods = pods
        self._changed = changed
        self._interval = interval.total_seconds()

    def told(self, pods: Iterable[Pod]) -> list[Pod]:
        """Return those of *pods* that have answered."""
        return [pod for pod in pods if pod.uid in self.answers] if self.answers else []

    def standing(self, uid: str) -> timedelta | None:
        """Return for how long the step of a pod has not moved; None: it has told none."""
        moved = self._moved.get(uid)
        return timedelta(seconds=time.monotonic() - moved) if moved is not None else None

    async def run(self) -> None:
        """Ask until cancelled."""
        limit = asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            while True:
                await asyncio.gather(*(self._ask(pod, session, limit) for pod in self._running()))
                self._forget()
                await asyncio.sleep(self._interval)

    def _running(self) -> Iterator[Object]:
        for pod in self._telling():
            status = pod.get("status") or {}
            if status.get("phase") == "Running" and status.get("podIP") and "deletionTimestamp" not in pod["metadata"]:
                yield pod

    async def _ask(self, pod: Object, session: aiohttp.ClientSession, limit: asyncio.Semaphore) -> None:
        async with limit:
            answer = await fetch(address(pod), session=session)
        uid = pod["metadata"]["uid"]
        before = self.answers.get(uid)
        if answer is not None and answer != before:
            if before is None or before.step != answer.step:
                self._moved[uid] = time.monotonic()
            self.answers[uid] = answer
            self._changed(pod)

    def _telling(self) -> Iterator[Object]:
        for component in (names.TRAIN, names.OPTIMIZE):
            yield from self._pods.by_label(names.COMPONENT_LABEL, component)

    def _forget(self) -> None:
        known = {pod["metadata"]["uid"] for pod in self._telling()}
        for uid in self.answers.keys() - known:
            del self.answers[uid], self._moved[uid]


def address(pod: Object) -> str:
    """Return the URL of a running pod's progress."""
    ip = pod["status"]["podIP"]
    return f"http://{f'[{ip}]' if ':' in ip else ip}:{names.PROGRESS_PORT}/progress"


async def fetch(url: str, *, session: aiohttp.ClientSession) -> Progress | None:
    """Return what a supervisor answers, or None when it does not answer or not as one."""
    try:
        async with session.get(url) as response:
            if response.status != 200:
                return None
            body: Any = json.loads(await response.content.read(MAX_BYTES))
        return parse(Progress, body, path="progress")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, InvalidSpecError):
        return None
