"""The Kubernetes API as a ``Cluster``."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bertjob_api.cluster import Change, ConflictError, Kind, NotFoundError, Object, Ref
from bertjob_operator.runtime import auth, calls
from bertjob_operator.runtime.calls import Call, Selection
from bertjob_operator.runtime.connection import READ_BUFFER, Connection, Keep, all_of, stripped
from bertjob_operator.runtime.delays import Timings
from bertjob_operator.runtime.reflector import reflect
from bertjob_operator.runtime.sockets import Sockets

_STATUS_ATTEMPTS = 5


@asynccontextmanager
async def connect(
    kubeconfig: Path | None = None, *, service_account: Path | None = None, timings: Timings | None = None
) -> AsyncIterator["HttpCluster"]:
    """
    Give the cluster of *kubeconfig*; None: $KUBECONFIG, ~/.kube/config, then the pod we run in. Sends nothing yet.

    Args:
        kubeconfig: file of this name.
        service_account: folder with a pod's ``token`` and ``ca.crt``, instead of any kubeconfig.
        timings: of requests and watches.

    Raises:
        ValueError: there is no usable configuration.

    """
    credentials = await auth.load(kubeconfig, service_account=service_account)
    # No limit on connections: every watch holds one, and what else runs at once is bounded by the callers' workers.
    sockets = Sockets()
    connector = aiohttp.TCPConnector(limit=0, ssl=credentials.ssl_context(), socket_factory=sockets.make)
    headers = {"User-Agent": "bertjob", "Accept": "application/json"}
    try:
        async with aiohttp.ClientSession(connector=connector, read_bufsize=READ_BUFFER, headers=headers) as session:
            connection = Connection(session, credentials, timings=timings or Timings())
            yield HttpCluster(connection, address=credentials.host)
    finally:
        await sockets.end()


class HttpCluster:
    """``bertjob_api.cluster.Cluster`` on a real API server; use ``connect``."""

    def __init__(self, connection: Connection, *, address: str) -> None:
        self._connection = connection
        self.address = address
        """URL of the API server: scheme, host and port."""

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> list[Object]:
        """See ``Cluster.list``."""
        selection = Selection(kind=kind, namespace=namespace, labels=labels, name=name)
        try:
            objects, _ = await self._connection.objects(selection)
        except NotFoundError:  # only a kind that is not served has no list
            return []
        return objects

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """See ``Cluster.apply``."""
        return stripped(await self._connection.send(calls.apply(stripped(obj), manager=manager)))

    async def replace(
        self, ref: Ref, path: str, *, old: object, new: object, uid: str, resource_version: str | None = None
    ) -> Object:
        """See ``Cluster.replace``."""
        call = calls.replace(ref, path, old=old, new=new, uid=uid, resource_version=resource_version)
        return stripped(await self._connection.send(call))

    async def patch_status(
        self, ref: Ref, status: Mapping[str, Any], *, uid: str | None = None, resource_version: str | None = None
    ) -> Object:
        """See ``Cluster.patch_status``."""
        if uid is None or resource_version is not None or not calls.ignores_uid(ref.kind):
            call = calls.patch_status(ref, status, uid=uid, version=resource_version)
            return stripped(await self._connection.send(call))
        for attempt in range(_STATUS_ATTEMPTS):
            version = await self._version_of(ref, uid=uid)
            call = calls.patch_status(ref, status, uid=uid, version=version)
            try:
                return stripped(await self._connection.send(call))
            except ConflictError:  # somebody wrote in between, perhaps only a label
                if attempt == _STATUS_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _version_of(self, ref: Ref, *, uid: str) -> str:
        """Return the object's version; ConflictError when it is another incarnation."""
        metadata = (await self._connection.send(calls.get(ref)))["metadata"]
        if metadata["uid"] != uid:
            raise ConflictError(f"{ref}: metadata.uid is {metadata['uid']}, expected {uid}")
        return str(metadata["resourceVersion"])

    async def delete(self, ref: Ref, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """See ``Cluster.delete``."""
        try:
            await self._connection.send(calls.delete(ref, uid=uid, grace_seconds=grace_seconds))
        except NotFoundError:
            return

    def changes(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        keep: Keep | None = None,
    ) -> AsyncGenerator[Change]:
        """See ``Cluster.changes``."""
        selection = Selection(kind=kind, namespace=namespace, labels=labels)
        return reflect(_Selected(self._connection, selection, keep or all_of), timings=self._connection.timings)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """
        Send one request outside the protocol (TokenRequest, Lease, CustomResourceDefinition) and return the answer.

        Raises:
            ClusterError: as the protocol's calls do.

        """
        what = f"{method} {path}"
        call = Call(what=what, method=method, path=path, query=query or {}, body=body, content_type=content_type)
        return await self._connection.send(call)


class _Selected:
    """Some objects of the API server, as the reflector reads them."""

    def __init__(self, connection: Connection, selection: Selection, keep: Keep) -> None:
        self._connection = connection
        self._selection = selection
        self._keep = keep

    def __str__(self) -> str:
        return str(self._selection)

    async def objects(self) -> tuple[list[Object], str]:
        return await self._connection.objects(self._selection, keep=self._keep)

    def events(self, version: str) -> AsyncGenerator[tuple[str, Object]]:
        return self._connection.events(self._selection, version=version, keep=self._keep)
