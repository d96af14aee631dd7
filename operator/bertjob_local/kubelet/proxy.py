"""Services on this machine: listens on every cluster IP and forwards each connection to a ready pod."""

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from bertjob_api.cluster import POD, SERVICE, Cluster, Object
from bertjob_local.addresses import open_port

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16
_CONNECT_S = 5.0
_BACKLOG = 128


class Address(NamedTuple):
    """Host and port."""

    host: str
    port: int


Table = Mapping[Address, tuple[Address, ...]]
"""Where to listen, and the ready pods behind each place."""


def table(services: list[Object], pods: list[Object]) -> dict[Address, tuple[Address, ...]]:
    """Return where to listen and where to forward to; a Service without a ready pod is not in it. Pure."""
    result: dict[Address, tuple[Address, ...]] = {}
    for service in services:
        spec = service["spec"]
        host, selector = spec.get("clusterIP"), spec.get("selector")
        if not selector or host in (None, "", "None") or spec.get("type") == "ExternalName":
            continue
        chosen = [pod for pod in pods if _is_behind(pod, service)]
        for port in spec.get("ports", ()):
            found = (_target(pod, port) for pod in chosen)
            targets = tuple(target for target in found if target is not None)
            if targets and port.get("protocol", "TCP") == "TCP":
                result[Address(host, open_port(port["port"]))] = targets
    return result


def _is_behind(pod: Object, service: Object) -> bool:
    if pod["metadata"].get("namespace") != service["metadata"].get("namespace"):
        return False
    labels = pod["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in service["spec"]["selector"].items()):
        return False
    is_ready = any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", ())
    )
    open_early = service["spec"].get("publishNotReadyAddresses", False)
    return (is_ready or open_early) and "deletionTimestamp" not in pod["metadata"] and "podIP" in pod.get("status", {})


def _target(pod: Object, port: Mapping[str, Any]) -> Address | None:
    """Return the pod's address for a Service's port, or None when the pod has no port of that name."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, str) and not target.isdigit():
        named = (each for container in pod["spec"]["containers"] for each in container.get("ports", ()))
        target = next((each["containerPort"] for each in named if each.get("name") == target), None)
    return None if target is None else Address(pod["status"]["podIP"], int(target))


class ServiceProxy:
    """Follows Services and pods; a Service refuses connections while no pod behind it is ready."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._services: dict[str, Object] = {}
        self._pods: dict[str, Object] = {}
        self._table: Table = {}
        self._listeners: dict[Address, socket.socket] = {}
        self._open: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Listen and forward until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(SERVICE, self._services))
                group.create_task(self._follow(POD, self._pods))
                group.create_task(self._keep_listening())
        finally:
            for address in tuple(self._listeners):
                self._stop_listening(address)
            for connection in self._open:
                connection.cancel()

    async def _follow(self, kind: Any, known: dict[str, Object]) -> None:
        async for change in self._cluster.changes(kind):
            if change.type == "Synced":
                continue
            uid = change.object["metadata"]["uid"]
            if change.type == "Deleted":
                known.pop(uid, None)
            else:
                known[uid] = change.object
            self._wake.set()

    async def _keep_listening(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._table = table(list(self._services.values()), list(self._pods.values()))
            for address in set(self._listeners) - set(self._table):
                self._stop_listening(address)
            for address in set(self._table) - set(self._listeners):
                self._listen(address)

    def _listen(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            listener = socket.create_server(address, backlog=_BACKLOG)
        except OSError as error:
            _log.warning("Service %s:%d: cannot listen, again in 1 s: %s", *address, error)
            loop.call_later(1, self._wake.set)
            return
        listener.setblocking(False)
        # Not asyncio.start_server: a connection that it accepts while it is closed hangs for ever (Python 3.11).
        loop.add_reader(listener, self._accept, listener, address)
        self._listeners[address] = listener

    def _stop_listening(self, address: Address) -> None:
        listener = self._listeners.pop(address)
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()

    def _accept(self, listener: socket.socket, address: Address) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it went away before its turn
        connection.setblocking(False)
        task = asyncio.create_task(self._carry(connection, address))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, connection: socket.socket, address: Address) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
        except OSError:
            connection.close()
            return
        try:
            await _forward(reader, writer, self._table.get(address, ()))
        finally:
            writer.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, targets: tuple[Address, ...]) -> None:
    """Carry bytes both ways until both sides are done; try the targets in random order."""
    for target in random.sample(targets, len(targets)):
        try:
            async with asyncio.timeout(_CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(*target)
        except (OSError, TimeoutError):
            continue
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except OSError:
            writer.transport.abort()
        finally:
            far_writer.close()
        return
    writer.transport.abort()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Carry bytes one way; the end of *source* becomes the end of what *target* sends."""
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    with contextlib.suppress(OSError):
        if target.can_write_eof():
            target.write_eof()
