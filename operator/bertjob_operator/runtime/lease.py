"""
Leader election with one ``coordination.k8s.io/v1`` Lease.

A candidate may take the Lease when nobody holds it, or when its holder has not renewed it for the holder's own lease time,
measured by the candidate's monotonic clock from when it *saw* the last renewal: clocks of different machines are never
compared. Each write carries the resourceVersion that was read, so of several candidates one wins.

Source: https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from bertjob_api.cluster import LEASE, ClusterError, ConflictError, NotFoundError, Object
from bertjob_operator.runtime import calls

logger = logging.getLogger(__name__)

JITTER: Final = 0.2
"""Candidates look again after 1 to 1.2 retry periods, so that they do not all come at once."""


class LeadershipLostError(RuntimeError):
    """The Lease could not be renewed in time or belongs to somebody else: this process must end."""


class Api(Protocol):
    """What election asks of the API server."""

    async def request(self, method: str, path: str, *, body: Any = None) -> Object:
        """Send one request; ClusterError when it is refused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Durations of an election; ``retry < renew < lease``."""

    lease: timedelta = timedelta(seconds=15)
    """How long others wait after the last renewal that they saw; whole seconds, by the API."""
    renew: timedelta = timedelta(seconds=10)
    """The leader gives up when it could not renew for so long."""
    retry: timedelta = timedelta(seconds=2)
    """Time between renewals, and between looks of a candidate."""

    def __post_init__(self) -> None:
        """Raise ValueError for terms under which two processes could lead."""
        if not timedelta(0) < self.retry < self.renew < self.lease or self.lease % timedelta(seconds=1):
            raise ValueError(
                f"got lease {self.lease}, renew {self.renew}, retry {self.retry}; "
                "expected 0 < retry < renew < lease, lease in whole seconds"
            )


class Elector:
    """
    One candidate for one Lease.

    Args:
        api: where the Lease is.
        namespace: of the Lease.
        name: of the Lease.
        identity: unique to this process, such as pod name and a random part.
        terms: durations.

    """

    def __init__(self, api: Api, *, namespace: str, name: str, identity: str, terms: Terms | None = None) -> None:
        self._api = api
        self._collection = calls.collection(LEASE, namespace)
        self._name = name
        self._identity = identity
        self._terms = terms or Terms()
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self.leading = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """
        Wait to be the leader, then run *lead*; release the Lease when it ends or when this is cancelled.

        Raises:
            LeadershipLostError: the Lease was lost; *lead* has been cancelled and had until the end of the lease to stop.

        """
        await self._campaign()
        logger.info("%s leads: %s", self._identity, self._name)
        self.leading = True
        work = asyncio.ensure_future(lead())
        renewal = asyncio.create_task(self._keep())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.leading = False
            left = self._terms.lease - self._terms.renew if renewal.done() else None
            await _end(work, within=left)
            lost = renewal.done()
            await _end(renewal)
            if not lost:
                await self._release()
        if lost:
            renewal.result()
        work.result()

    async def _campaign(self) -> None:
        """Return once the Lease is ours."""
        while True:
            try:
                if await self._take():
                    return
            except ClusterError as error:
                logger.warning("%s does not lead: %s", self._identity, error)
            wait = self._terms.retry * (1 + JITTER * random.random())  # noqa: S311  # spreads candidates
            await asyncio.sleep(min(wait, remaining(self._seen, seen_at=self._seen_at, now=_now())).total_seconds())

    async def _take(self) -> bool:
        """Look at the Lease, and try to take it when that is allowed."""
        await self._look()
        if not may_take(self._seen, identity=self._identity, unchanged=timedelta(seconds=_now() - self._seen_at)):
            return False
        try:
            await self._write(self._identity)
        except ConflictError:  # another candidate was faster
            return False
        return True

    async def _keep(self) -> None:
        """Renew until the Lease is lost; then raise LeadershipLostError."""
        while True:
            await asyncio.sleep(self._terms.retry.total_seconds())
            deadline = self._renewed_at + self._terms.renew.total_seconds()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._store(self._identity)
            except TimeoutError as error:
                raise LeadershipLostError(f"Lease {self._name} not renewed for {self._terms.renew}") from error
            except ClusterError as error:
                if _now() >= deadline:
                    raise LeadershipLostError(f"Lease {self._name} not renewed for {self._terms.renew}") from error
                logger.warning("%s could not renew yet: %s", self._identity, error)

    async def _release(self) -> None:
        """Let the next candidate in at once; when that fails it has to wait for the lease to end."""
        try:
            async with asyncio.timeout(self._terms.retry.total_seconds()):
                await self._store("")
        except (ClusterError, LeadershipLostError, TimeoutError) as error:
            logger.warning("%s could not release Lease %s: %s", self._identity, self._name, error)

    async def _store(self, holder: str) -> None:
        """Write our Lease; look only when that fails, because somebody labelled it, or an answer to us was lost."""
        try:
            await self._write(holder)
        except (ConflictError, NotFoundError):
            await self._look()
            now_held_by = _spec(self._seen).get("holderIdentity")
            if self._seen is not None and now_held_by != self._identity:
                raise LeadershipLostError(f"Lease {self._name} belongs to {now_held_by or 'nobody'} now") from None
            await self._write(holder)

    async def _look(self) -> None:
        try:
            found = await self._api.request("GET", f"{self._collection}/{self._name}")
        except NotFoundError:
            self._seen = None
            return
        if self._seen is None or _spec(found) != _spec(self._seen):
            self._seen_at = _now()
        self._seen = found

    async def _write(self, holder: str) -> None:
        """Store the Lease with *holder*, provided nobody wrote it since it was seen."""
        started = _now()  # the lease runs from before the request: when the server stored it cannot be known
        lease = renewed(self._seen, holder=holder, now=datetime.now(UTC), lease=self._terms.lease)
        if self._seen is None:
            lease["metadata"]["name"] = self._name
            self._seen = await self._api.request("POST", self._collection, body=lease)
        else:
            self._seen = await self._api.request("PUT", f"{self._collection}/{self._name}", body=lease)
        self._seen_at = self._renewed_at = started


def may_take(lease: Object | None, *, identity: str, unchanged: timedelta) -> bool:
    """
    Tell whether a candidate may take *lease*.

    Args:
        lease: as last seen; None: there is none.
        identity: the candidate.
        unchanged: how long the candidate has seen the Lease without a renewal.

    """
    spec = _spec(lease)
    holder = spec.get("holderIdentity")
    return holder in (None, "", identity) or unchanged >= timedelta(seconds=spec.get("leaseDurationSeconds") or 0)


def remaining(lease: Object | None, *, seen_at: float, now: float) -> timedelta:
    """
    Return how long *lease* still lasts for a candidate, so that he looks when it ends; the longest time: it has ended.

    Args:
        lease: as last seen; None: there is none.
        seen_at: when its newest renewal was seen, in seconds.
        now: in seconds of the same clock.

    """
    left = (_spec(lease).get("leaseDurationSeconds") or 0) - (now - seen_at)
    return timedelta(seconds=left) if left > 0 else timedelta.max


def renewed(before: Object | None, *, holder: str, now: datetime, lease: timedelta) -> Object:
    """Return the Lease to store: renewed by its holder, taken by another one, or with *holder* "" released."""
    spec = _spec(before)
    same = spec.get("holderIdentity") == holder
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    taken = bool(holder) and not same
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        **(before or {}),
        "metadata": dict(before["metadata"]) if before else {},
        "spec": {
            **spec,
            "holderIdentity": holder,
            "leaseDurationSeconds": int(lease.total_seconds()) if holder else 1,
            "acquireTime": stamp if taken or not spec.get("acquireTime") else spec["acquireTime"],
            "renewTime": stamp,
            "leaseTransitions": spec.get("leaseTransitions", 0) + (1 if taken and before else 0),
        },
    }


def _spec(lease: Object | None) -> dict[str, Any]:
    return (lease or {}).get("spec") or {}


async def _end(task: "asyncio.Future[None]", *, within: timedelta | None = None) -> None:
    """Cancel *task* and wait for its end, whatever it is; None: however long that takes."""
    task.cancel()
    await asyncio.wait({task}, timeout=None if within is None else within.total_seconds())


def _now() -> float:
    return asyncio.get_running_loop().time()
