"""The process kubelet: runs the pods of its nodes as processes of this machine."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bertjob_api.cluster import POD, Cluster, Object
from bertjob_local.addresses import PodAddresses
from bertjob_local.kubelet import nodes as node_reports
from bertjob_local.kubelet.logs import LogRange
from bertjob_local.kubelet.pod_worker import PodWorker, has_ended
from bertjob_local.kubelet.proxy import ServiceProxy
from bertjob_local.kubelet.settings import Settings

_log = logging.getLogger(__name__)


class Kubelet:
    """
    Speaks only the ``Cluster`` protocol, so it serves the embedded cluster and a real API server alike.

    Nothing that it started survives it, however it ends; nothing is adopted from a kubelet before it.
    """

    def __init__(
        self,
        cluster: Cluster,
        nodes: Sequence[str],
        state: Path,
        images: Mapping[str, str] | None = None,
        *,
        settings: Settings | None = None,
    ) -> None:
        self._cluster = cluster
        self._state = state
        given = settings or Settings()
        self._settings = given if images is None else replace(given, images=images)
        self._node_ips = {name: node_reports.address_of(number) for number, name in enumerate(nodes)}
        self.log_ports: dict[str, int] = {}
        """By node: port of the log server, announced in the node's status."""
        self._reports: dict[str, asyncio.Task[None]] = {}
        self._dead: set[str] = set()
        self._addresses = PodAddresses()
        self._workers: dict[str, tuple[str, PodWorker, asyncio.Task[None]]] = {}
        """By uid: the pod's node, its worker and the worker's task."""
        self._pods: dict[str, Object] = {}
        """By uid: every pod of the cluster that is on one of our nodes."""

    async def run(self) -> None:
        """Register the nodes, run their pods and forward to Services until cancelled."""
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in self._node_ips:
            self._start_reports(name)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_pods())
                group.create_task(ServiceProxy(self._cluster).run())
        finally:
            await self._shut_down()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the names of the nodes."""
        return tuple(self._node_ips)

    def find_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        previous: bool,  # noqa: FBT001  # as ``log_server.Find`` has it
    ) -> tuple[LogRange, Callable[[], bool]] | None:
        """Return a container's log and whether it still grows, or None when there is none."""
        for uid, found in self._pods.items():
            metadata = found["metadata"]
            if (metadata["namespace"], metadata["name"]) != (namespace, pod):
                continue
            known = self._workers[uid][1].find_log(container, previous=previous) if uid in self._workers else None
            if known is not None:
                return known
            path = self._folder(found) / f"{container}.log"  # it ended under a kubelet before this one
            if path.exists() and not previous:
                return LogRange(path=path, start=0, end=None), lambda: False
        return None

    def pods_folder(self) -> Path:
        """Return the folder that holds one folder per pod, NAMESPACE_NAME_UID, with CONTAINER.log in it."""
        return self._state / "pods"

    async def kill_node(self, name: str) -> None:
        """Lose a node: SIGKILL everything on it at once, and report nothing any more."""
        self._expect_node(name)
        self._dead.add(name)
        report = self._reports.pop(name, None)
        lost = [uid for uid, (node, _, _) in self._workers.items() if node == name]
        tasks = [self._workers.pop(uid) for uid in lost]
        for _, worker, task in tasks:
            worker.kill()
            task.cancel()
        if report is not None:
            report.cancel()
        await asyncio.gather(*(task for _, _, task in tasks), return_exceptions=True)

    async def heal_node(self, name: str) -> None:
        """Bring a lost node back, as after a reboot: it reports again, and what ran on it has ended."""
        self._expect_node(name)
        self._dead.discard(name)
        if name not in self._reports:
            self._start_reports(name)
        for pod in tuple(self._pods.values()):
            self._consider(pod)

    def _folder(self, pod: Object) -> Path:
        metadata = pod["metadata"]
        return self.pods_folder() / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"

    def _expect_node(self, name: str) -> None:
        if name not in self._node_ips:
            raise ValueError(f"node {name!r}: unknown; expected one of {', '.join(self._node_ips)}")

    def _start_reports(self, name: str) -> None:
        report = node_reports.keep_alive(
            self._cluster,
            name,
            address=self._node_ips[name],
            log_ports=self.log_ports,
            settings=self._settings,
        )
        self._reports[name] = asyncio.create_task(report)

    async def _follow_pods(self) -> None:
        async for change in self._cluster.changes(POD):
            if change.type == "Synced" or change.object["spec"].get("nodeName") not in self._node_ips:
                continue
            uid = change.object["metadata"]["uid"]
            if change.type == "Deleted":
                self._pods.pop(uid, None)
                if uid in self._workers:
                    self._workers[uid][1].gone()
            else:
                self._pods[uid] = change.object
                self._consider(change.object)

    def _consider(self, pod: Object) -> None:
        """Start a pod's worker, or tell it what is new."""
        uid, node = pod["metadata"]["uid"], pod["spec"]["nodeName"]
        if uid in self._workers:
            self._workers[uid][1].update(pod)
            return
        is_done = has_ended(pod) and "deletionTimestamp" not in pod["metadata"]
        if node in self._dead or is_done:
            return
        worker = PodWorker(
            self._cluster,
            pod,
            root=self._folder(pod),
            host_ip=self._node_ips[node],
            addresses=self._addresses,
            settings=self._settings,
        )
        task = asyncio.create_task(worker.run())
        self._workers[uid] = (node, worker, task)
        task.add_done_callback(lambda done: self._ended(uid, done))

    def _ended(self, uid: str, task: "asyncio.Task[None]") -> None:
        entry = self._workers.get(uid)
        if entry is not None and entry[2] is task:
            del self._workers[uid]
        if not task.cancelled() and task.exception() is not None:
            _log.error("pod %s: the kubelet failed; this is a bug", uid, exc_info=task.exception())

    async def _shut_down(self) -> None:
        for report in self._reports.values():
            report.cancel()
        entries = tuple(self._workers.values())
        grace_s = self._settings.shutdown_grace.total_seconds()
        await asyncio.gather(*(worker.stop(grace_s) for _, worker, _ in entries), return_exceptions=True)
        for _, _, task in entries:
            task.cancel()
        await asyncio.gather(*(task for _, _, task in entries), return_exceptions=True)
        self._workers.clear()
