"""Writes the newest status of one pod to the cluster, as often as needed and no oftener."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from bertjob_api.cluster import Cluster, ClusterError, ConflictError, NotFoundError, Object, Ref, UnavailableError

_log = logging.getLogger(__name__)


class Reporter:
    """Writes what ``current`` returns whenever it differs from what was written last."""

    def __init__(
        self, cluster: Cluster, ref: Ref, uid: str, *, current: Callable[[], Object], retry: timedelta
    ) -> None:
        self._cluster = cluster
        self._ref = ref
        self._uid = uid
        self._current = current
        self._retry = retry
        self._wake = asyncio.Event()
        self._written: Object | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_over = False

    def changed(self) -> None:
        """Tell that there may be something to write."""
        if not self._is_over:
            self._wake.set()
            self._idle.clear()

    async def flushed(self) -> None:
        """Return when everything is written, or the pod is gone."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled or until the pod is gone."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._write()
                if not self._wake.is_set():
                    self._idle.set()
        except (NotFoundError, ConflictError):
            return  # another pod has its name, or none
        except ClusterError:
            _log.exception("%s: status refused", self._ref)
        finally:
            self._is_over = True
            self._idle.set()

    async def _write(self) -> None:
        while True:
            wanted = self._current()
            if wanted == self._written:
                return
            try:
                await self._cluster.patch_status(self._ref, wanted, uid=self._uid)
            except UnavailableError as error:
                _log.warning("%s: status not written, again in %s: %s", self._ref, self._retry, error)
                await asyncio.sleep(self._retry.total_seconds())
            else:
                self._written = wanted
