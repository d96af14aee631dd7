"""One pod on this machine, from its first sight to its removal from the cluster."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bertjob_api.cluster import POD, Cluster, ClusterError, Object, Ref
from bertjob_local.addresses import PodAddresses
from bertjob_local.kubelet import env, process, status, volumes
from bertjob_local.kubelet.container import Container, Home
from bertjob_local.kubelet.env import ConfigError, Surroundings
from bertjob_local.kubelet.logs import LogRange
from bertjob_local.kubelet.records import Record, Waiting, known_ends
from bertjob_local.kubelet.reporter import Reporter
from bertjob_local.kubelet.settings import Settings

_log = logging.getLogger(__name__)
_LOST = 137
"""Exit code of a container that nobody saw end."""


class PodWorker:
    """Runs a pod's containers, reports, and takes the pod out of the cluster when it was deleted."""

    def __init__(
        self, cluster: Cluster, pod: Object, *, root: Path, host_ip: str, addresses: PodAddresses, settings: Settings
    ) -> None:
        self._cluster = cluster
        self._pod = pod
        self._ref = Ref(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])
        self._uid: str = pod["metadata"]["uid"]
        self._root = root
        self._host_ip = host_ip
        self._addresses = addresses
        self._settings = settings
        self._ip = addresses.take()
        self._start = datetime.now(UTC)
        self._earlier = known_ends(pod.get("status", {}))
        self._folders: dict[str, Path] = {}
        self._reporter = Reporter(cluster, self._ref, self._uid, current=self._status, retry=settings.retry)
        self._init = [self._container(spec, is_init=True) for spec in pod["spec"].get("initContainers", ())]
        self._main = [self._container(spec, is_init=False) for spec in pod["spec"]["containers"]]
        self._trouble = ""
        self._is_over = False
        self._deleted = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def uid(self) -> str:
        """Return the pod's uid."""
        return self._uid

    def update(self, pod: Object) -> None:
        """Take the pod's newest state from the cluster."""
        self._pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deleted.set()

    def gone(self) -> None:
        """Take notice that the cluster has forgotten the pod: nothing may survive."""
        self._gone.set()
        self._deleted.set()
        self.kill()

    def kill(self) -> None:
        """End every process of the pod at once."""
        for each in (*self._init, *self._main):
            each.kill()

    def find_log(self, container: str, *, previous: bool) -> tuple[LogRange, Callable[[], bool]] | None:
        """Return a container's log and whether it still grows, or None when there is none."""
        found = next((each for each in (*self._init, *self._main) if each.record.name == container), None)
        log = None if found is None else found.previous_log if previous else found.log
        return None if found is None or log is None else (log, lambda: found.is_running)

    async def run(self) -> None:
        """Return when the pod is out of the cluster."""
        reporting = asyncio.create_task(self._reporter.run())
        try:
            await self._live()
            await self._until_deleted()
            await self._end()
        finally:
            self.kill()
            reporting.cancel()
            self._addresses.give_back(self._ip)

    async def stop(self, grace_s: float) -> None:
        """End the pod's processes, with time to do so; the pod stays in the cluster."""
        await asyncio.gather(*(each.stop(grace_s) for each in (*self._init, *self._main)))

    async def _live(self) -> None:
        """Run the containers until they have ended for good, or until the pod is deleted."""
        self.update(self._pod)
        if self._is_lost():
            self._give_up()
            return
        running = asyncio.create_task(self._run_containers())
        deleted = asyncio.create_task(self._deleted.wait())
        await asyncio.wait({running, deleted}, return_when=asyncio.FIRST_COMPLETED)
        if self._deleted.is_set():
            await self._stop_in_time()
        deleted.cancel()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    def _is_lost(self) -> bool:
        """Return whether a kubelet before this one had the pod, and it cannot be started again."""
        was_here = bool(self._earlier) or self._deleted.is_set()
        return was_here and (self._deleted.is_set() or self._pod["spec"].get("restartPolicy", "Always") == "Never")

    def _give_up(self) -> None:
        self._is_over = True
        self._reporter.changed()

    async def _until_deleted(self) -> None:
        await self._reporter.flushed()
        self._forget_files()
        await self._deleted.wait()

    async def _end(self) -> None:
        """Report the end and delete the pod."""
        self._is_over = True
        self._reporter.changed()
        await self._reporter.flushed()
        while not self._gone.is_set():
            try:
                await self._cluster.delete(self._ref, uid=self._uid, grace_seconds=0)
            except ClusterError as error:
                _log.warning("%s: not deleted, again in %s: %s", self._ref, self._settings.retry, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.retry.total_seconds()):
                    await self._gone.wait()

    async def _stop_in_time(self) -> None:
        """Stop the containers within the grace that the deletion grants; a later, shorter one counts."""
        stopping = asyncio.create_task(self.stop(self._grace()))
        while not stopping.done():
            await asyncio.wait({stopping}, timeout=0.1)
            if self._grace() == 0 or self._gone.is_set():
                self.kill()
        await stopping

    def _grace(self) -> float:
        given = self._pod["metadata"].get("deletionGracePeriodSeconds")
        default = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
        return float(default if given is None else given)

    async def _run_containers(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._reporter.changed()
        await self._prepare_volumes()
        for container in self._init:
            ended = await container.run()
            if ended is None or ended.exit_code != 0:
                return
        await asyncio.gather(*(container.run() for container in self._main))
        process.kill_marked(self._uid)

    async def _prepare_volumes(self) -> None:
        while True:
            try:
                around = await self._around()
                folders = await volumes.prepare(around, root=self._root / "volumes", tokens=self._settings.tokens)
            except (ConfigError, ClusterError) as error:
                self._trouble = str(error)
                self._reporter.changed()
                await asyncio.sleep(self._settings.retry.total_seconds())
            else:
                self._folders.update(folders)
                self._trouble = ""
                return

    async def _around(self) -> Surroundings:
        found = {}
        for ref in sorted(env.references(self._pod)):
            for obj in await self._cluster.list(ref.kind, namespace=ref.namespace, name=ref.name):
                found[ref] = {**obj, "kind": ref.kind.kind}
        server = self._settings.api_server
        return Surroundings(pod=self._pod, pod_ip=self._ip, host_ip=self._host_ip, objects=found, api_server=server)

    def _container(self, spec: Mapping[str, Any], *, is_init: bool) -> Container:
        policy = self._pod["spec"].get("restartPolicy", "Always")
        home = Home(
            uid=self._uid,
            root=self._root,
            folders=self._folders,
            pod_ip=self._ip,
            grace_s=self._pod["spec"].get("terminationGracePeriodSeconds", 30),
            around=self._around,
            changed=self._reporter.changed,
            settings=self._settings,
        )
        rule = "OnFailure" if is_init and policy == "Always" else policy
        return Container(spec, home, policy=rule, restarts=self._earlier.get(spec["name"], 0))

    def _status(self) -> Object:
        now = datetime.now(UTC)
        init, main = self._records(self._init), self._records(self._main)
        if self._is_over:
            code, reason = _LOST, "ContainerStatusUnknown"
            init = status.ended(init, code=code, reason=reason, now=now)
            main = status.ended(main, code=code, reason=reason, now=now)
        facts = status.Facts(
            pod=self._pod,
            init=init,
            main=main,
            pod_ip=self._ip,
            host_ip=self._host_ip,
            start_time=self._start,
            is_ended=self._is_over,
        )
        return status.pod_status(facts, now=now)

    def _records(self, containers: list[Container]) -> list[Record]:
        """Return the records, with what keeps the whole pod from starting as the reason of those that wait."""
        records = [each.record for each in containers]
        if not self._trouble:
            return records
        waiting = Waiting(reason="ContainerCreating", message=self._trouble)
        return [replace(each, state=waiting) if isinstance(each.state, Waiting) else each for each in records]

    def _forget_files(self) -> None:
        """Remove what only running containers need; logs and termination messages stay."""
        for name in ("volumes", "work"):
            shutil.rmtree(self._root / name, ignore_errors=True)


def has_ended(pod: Object) -> bool:
    """Return whether a pod's phase is final."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
