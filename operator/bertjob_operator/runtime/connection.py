"""Sends calls to one API server and reads the answers; every failure is a ClusterError."""

import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from bertjob_api.cluster import ClusterError, Kind, Object, UnavailableError
from bertjob_operator.runtime import calls, tally
from bertjob_operator.runtime.auth import Credentials
from bertjob_operator.runtime.calls import Call, Selection
from bertjob_operator.runtime.delays import Timings
from bertjob_operator.runtime.errors import ExpiredError, error_of

logger = logging.getLogger(__name__)

READ_BUFFER: Final = 2**21
LINE_MAX: Final = 2**24
"""Longest line of a watch, in bytes: etcd takes objects of 1.5 MiB, which are several times that as JSON."""

Keep = Callable[[Object], Object]
"""Gives what of an object to hold, its metadata's name, uid and version included."""


def all_of(obj: Object) -> Object:
    """Return *obj*: the ``Keep`` of who wants all of it."""
    return obj


class Connection:
    """One session with one API server."""

    def __init__(self, session: aiohttp.ClientSession, credentials: Credentials, *, timings: Timings) -> None:
        self._session = session
        self._credentials = credentials
        self.timings = timings

    async def send(self, call: Call) -> Object:
        """Return the decoded answer; {} when it has no body."""
        limits = aiohttp.ClientTimeout(
            total=self.timings.request.total_seconds(), sock_connect=self.timings.connect.total_seconds()
        )
        async with self._answer(call, limits) as response:
            text = await response.read()
        return _decoded(call.what, text) if text else {}

    async def objects(self, selection: Selection, *, keep: Keep = all_of) -> tuple[list[Object], str]:
        """Return what *keep* gives of all objects, without managedFields, and the version of that state."""
        try:
            return await self._pages(selection, limit=calls.PAGE, keep=keep)
        except ExpiredError:  # too much changed while the pages were read; a list without pages cannot expire
            return await self._pages(selection, limit=0, keep=keep)

    async def events(
        self, selection: Selection, *, version: str, keep: Keep = all_of
    ) -> AsyncGenerator[tuple[str, Object]]:
        """
        Yield the type of each event of one watch, until the server ends it, and what *keep* gives of its object.

        Raises:
            ExpiredError: *version* is too old.

        """
        shortest, longest = self.timings.watch_shortest.total_seconds(), self.timings.watch_longest.total_seconds()
        seconds = max(1, round(random.uniform(shortest, longest)))  # noqa: S311  # spreads watches, keeps no secret
        call = calls.watch(selection, version=version, seconds=seconds)
        limits = aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.timings.connect.total_seconds(),
            sock_read=self.timings.watch_silence.total_seconds(),
        )
        async with self._answer(call, limits) as response:
            while line := await response.content.readuntil(b"\n", max_size=LINE_MAX):
                event = _decoded(call.what, line)
                obj = event["object"]
                if event["type"] == "ERROR":
                    raise error_of(call.what, code=obj.get("code", 500), status=obj)
                yield event["type"], obj if event["type"] == "BOOKMARK" else keep(stripped(obj))

    @asynccontextmanager
    async def _answer(self, call: Call, limits: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the successful answer to *call*, with its body still to be read."""
        with _translated(call.what):
            response = await self._open(call, limits, await self._credentials.headers())
            if response.status == 401:  # refused before anything was done, so that even a write may be repeated
                response.release()
                response = await self._open(call, limits, await self._credentials.headers(renew=True))
            logger.debug("%s %s answered %d: %s", call.method, call.path, response.status, call.what)
            async with response:
                if response.status >= 300:
                    raise await _refused(call.what, response)
                yield response

    async def _open(self, call: Call, limits: aiohttp.ClientTimeout, headers: dict[str, str]) -> aiohttp.ClientResponse:
        if call.method != "GET":
            tally.wrote()
        return await self._session.request(
            call.method,
            self._credentials.host + call.path,
            params=call.query,
            data=None if call.body is None else orjson.dumps(call.body),
            headers={"Content-Type": call.content_type, **headers},
            timeout=limits,
            proxy=self._credentials.proxy,
            server_hostname=self._credentials.server_name,
            allow_redirects=False,  # the token is for this server alone
        )

    async def _pages(self, selection: Selection, *, limit: int, keep: Keep) -> tuple[list[Object], str]:
        objects: list[Object] = []
        token = ""
        while True:
            page = await self.send(calls.list_page(selection, token=token, limit=limit))
            objects += (keep(_whole(selection.kind, each)) for each in page.get("items") or ())
            token = page["metadata"].get("continue", "")
            if not token:
                return objects, page["metadata"]["resourceVersion"]


def stripped(obj: Object) -> Object:
    """Return *obj* without ``managedFields``, which are half of many objects and of no use to us."""
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _whole(kind: Kind, obj: Object) -> Object:
    """Return an item of a list as an object that stands alone: the server leaves these two fields out of items."""
    return {"apiVersion": kind.api_version, "kind": kind.kind, **stripped(obj)}


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn every way of not getting an answer into UnavailableError."""
    try:
        yield
    except (aiohttp.ClientError, HttpProcessingError, OSError) as error:  # timeouts are OSErrors
        raise UnavailableError(f"{what}: no answer: {type(error).__name__} {error}".rstrip()) from error


async def _refused(what: str, response: aiohttp.ClientResponse) -> ClusterError:
    text = await response.read()
    try:
        status = orjson.loads(text)
    except orjson.JSONDecodeError:
        status = None
    return error_of(
        what,
        code=response.status,
        status=status if isinstance(status, dict) and status.get("kind") == "Status" else None,
        retry_after=response.headers.get("Retry-After"),
    )


def _decoded(what: str, text: bytes) -> Object:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnavailableError(f"{what}: the answer is no whole JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnavailableError(f"{what}: got {type(value).__name__} as the answer, expected an object")
    return value
