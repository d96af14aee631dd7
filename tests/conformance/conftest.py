"""The clusters that the suite runs against: ``pytest tests/conformance --cluster=embedded|real`` (default: both)."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, NAMESPACE, SERVICE_ACCOUNT, Change, Cluster, Kind, Object, Ref
from bertjob_api.crd import bert_job_crd
from bertjob_local import embedded
from bertjob_operator.runtime.http import connect

WAIT_S = 30.0
CHOICES = ("embedded", "real")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let one of the clusters be chosen."""
    parser.addoption("--cluster", choices=CHOICES, default=None, help="only this implementation of Cluster")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test against each chosen cluster."""
    if "ground" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--cluster", default=None)
    marks = {"real": [pytest.mark.cluster]}
    wanted = [pytest.param(name, marks=marks.get(name, ()), id=name) for name in CHOICES if chosen in (None, name)]
    metafunc.parametrize("ground", wanted, indirect=True, scope="function")


@dataclass
class Ground:
    """A cluster and a namespace in it for one test."""

    cluster: Cluster
    namespace: str

    def ref(self, kind: Kind, name: str) -> Ref:
        """Return a reference into the namespace."""
        return Ref(kind, self.namespace, name)

    async def get(self, kind: Kind, name: str) -> Object | None:
        """Return an object, or None."""
        return next(iter(await self.cluster.list(kind, namespace=self.namespace, name=name)), None)

    async def until(self, holds: Callable[[], Awaitable[Any]]) -> Any:
        """Return the first true answer of *holds*."""
        async with asyncio.timeout(WAIT_S):
            while not (answer := await holds()):  # noqa: ASYNC110  # it holds in another process
                await asyncio.sleep(0.05)
        return answer

    async def collect(self, kind: Kind, *, until: Callable[[list[Change]], bool], **selection: Any) -> list[Change]:
        """Return the changes of *kind* in the namespace up to the one at which *until* holds."""
        seen: list[Change] = []
        changes = self.cluster.changes(kind, namespace=self.namespace, **selection)
        async with asyncio.timeout(WAIT_S), contextlib.aclosing(changes):
            async for change in changes:
                seen.append(change)
                if until(seen):
                    break
        return seen


@pytest.fixture
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    """Give the chosen cluster with its controllers running, and a fresh namespace."""
    namespace = f"conformance-{secrets.token_hex(4)}"
    if request.param == "embedded":
        async with _embedded() as cluster:
            yield Ground(cluster, namespace)
        return
    local = request.getfixturevalue("real_controllers")
    async with connect(local.layout.kubeconfig) as http:
        await http.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, manager="test")
        await _with_crd(http)
        found = Ground(http, namespace)
        # The API server takes no pod before the namespace has this account, which a controller makes.
        await found.until(lambda: found.get(SERVICE_ACCOUNT, "default"))
        yield found
        await http.delete(Ref(NAMESPACE, "", namespace))


@contextlib.asynccontextmanager
async def _embedded() -> AsyncIterator[Cluster]:
    cluster = embedded.EmbeddedCluster()
    running = asyncio.create_task(cluster.run())
    try:
        yield cluster
        assert not running.done(), "the controllers ended early"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _with_crd(http: Any) -> None:
    """Install the kind BertJob and wait until it is served."""
    crd = bert_job_crd()
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}"
    query = {"fieldManager": "test", "force": "true"}
    await http.request("PATCH", path, body=crd, query=query, content_type="application/apply-patch+yaml")
    async with asyncio.timeout(WAIT_S):
        while True:
            found = await http.request("GET", path)
            conditions = found.get("status", {}).get("conditions") or ()
            if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
                break
            await asyncio.sleep(0.05)
    assert (BERT_JOB.group, BERT_JOB.version) == (names.GROUP, names.VERSION)
