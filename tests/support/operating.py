"""Running the operator against a cluster in a test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from bertjob_api.cluster import BERT_JOB, Change, Cluster, Kind, Object
from bertjob_operator.plan import Platform
from bertjob_operator.shell.settings import Settings

SETTINGS = Settings(
    platform=Platform(trainer_image="trainer:test"), progress_interval=timedelta(seconds=3600), workers=4
)


@asynccontextmanager
async def together(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run *coroutines* beside the block; one that fails fails the test, and all end with the block."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def watching(cluster: Cluster, kind: Kind, **selection: Any) -> AsyncIterator[AsyncIterator[Change]]:
    """Give the changes of *kind*, and end the watch with the block."""
    changes = cluster.changes(kind, **selection)
    try:
        yield changes
    finally:
        await changes.aclose()  # type: ignore[attr-defined]  # both implementations are generators


def condition(job: Object, kind: str) -> dict[str, Any]:
    """Return one condition of a BertJob, or {}."""
    found = [item for item in job.get("status", {}).get("conditions", ()) if item["type"] == kind]
    return found[0] if found else {}


async def until(cluster: Cluster, job: Object, *kinds: str, seconds: float = 60) -> Object:
    """Return the BertJob once one of the conditions *kinds* is True."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    newest: Object = {}
    try:
        async with asyncio.timeout(seconds), watching(cluster, BERT_JOB, namespace=namespace) as changes:
            async for change in changes:
                if change.type in ("Added", "Modified") and change.object["metadata"]["name"] == name:
                    newest = change.object
                    if any(condition(newest, kind).get("status") == "True" for kind in kinds):
                        return newest
    except TimeoutError:
        raise AssertionError(f"none of {kinds} became True; the status: {newest.get('status')}") from None
    raise AssertionError("the watch ended")


async def gone(cluster: Cluster, kind: Kind, name: str, *, namespace: str | None = None) -> None:
    """Wait until an object is no longer there."""
    seen = False
    async with watching(cluster, kind, namespace=namespace) as changes:
        async for change in changes:
            here = change.object.get("metadata", {}).get("name") == name
            seen = seen or (here and change.type == "Added")
            if (here and change.type == "Deleted") or (change.type == "Synced" and not seen):
                return


async def none_left(cluster: Cluster, kind: Kind, **selection: Any) -> None:
    """Wait until no object of *kind* is selected."""
    here, synced = set[str](), False
    async with watching(cluster, kind, **selection) as changes:
        async for change in changes:
            synced = synced or change.type == "Synced"
            if change.type == "Deleted":
                here.discard(change.object["metadata"]["uid"])
            elif change.type != "Synced":
                here.add(change.object["metadata"]["uid"])
            if synced and not here:
                return


async def found(cluster: Cluster, kind: Kind, holds: Callable[[Object], bool], *, seconds: float = 30) -> Object:
    """Return the first object of *kind* for which *holds*, waiting for it."""
    async with asyncio.timeout(seconds), watching(cluster, kind) as changes:
        async for change in changes:
            if change.type in ("Added", "Modified") and holds(change.object):
                return change.object
    raise AssertionError("the watch ended")
