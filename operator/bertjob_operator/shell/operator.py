"""observe, plan, execute: the BertJob operator on any cluster."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from bertjob_api import names
from bertjob_api.cluster import (
    BERT_JOB,
    CONFIG_MAP,
    JOB,
    NODE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    WORKLOAD,
    Cluster,
    Object,
    Ref,
)
from bertjob_operator.plan import Count, Plan, metadata, plan, refuse_child, refuse_spec
from bertjob_operator.runtime import controller
from bertjob_operator.runtime.controller import Controller, Reconciled, Watch
from bertjob_operator.shell.execute import ChildRefusedError, announce, execute
from bertjob_operator.shell.freshness import Freshness
from bertjob_operator.shell.nodes import NodeBook
from bertjob_operator.shell.observe import Key, Refused, Seen, Sources, observe
from bertjob_operator.shell.pods import PodBook
from bertjob_operator.shell.progress import Board
from bertjob_operator.shell.settings import Settings
from bertjob_operator.shell.sharing import Pool
from bertjob_operator.shell.trim import trimmed

SOON: Final = timedelta(milliseconds=20)
"""When to look again at caches that are behind our own writes."""


async def run(cluster: Cluster, settings: Settings) -> None:
    """Look after every BertJob until cancelled."""
    await Operator(cluster, settings).run()


def job_key(value: Object) -> Key:
    """Return the key of a BertJob."""
    return value["metadata"]["namespace"], value["metadata"]["name"]


def child_key(value: Object) -> Key | None:
    """Return the key of the BertJob that *value* is a child of, or None."""
    name = (value["metadata"].get("labels") or {}).get(names.JOB_LABEL)
    return (value["metadata"]["namespace"], name) if name is not None else None


def workload_key(value: Object) -> Key | None:
    """Return the key of the BertJob whose Job the Workload *value* is made for, by the Job's name; None: no one's."""
    for owner in value["metadata"].get("ownerReferences") or ():
        name = names.job_of_child(owner["name"]) if owner["kind"] == JOB.kind else None
        if name is not None:
            return value["metadata"]["namespace"], name
    return None


class Operator:
    """
    One operator.

    Args:
        cluster: any implementation.
        settings: of this process.
        observer: told of each turn; the default logs it.
        counted: told of what happened to a job of a namespace, once its status is stored.
        clock: gives the time as an aware datetime.

    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        *,
        observer: Callable[[Reconciled], None] = controller.log,
        counted: Callable[[str, tuple[Count, ...]], None] = lambda _namespace, _counts: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._counted = counted
        self._clock = clock
        self.pool = Pool()
        """What cached objects have in common."""
        self.controller: Controller[Key] = Controller(
            cluster, _watches(settings, self.pool), self.reconcile, workers=settings.workers, observe=observer
        )
        self._fresh = Freshness(self.controller.stores)
        self._board = Board(self.controller.stores[POD], changed=self._progressed, interval=settings.progress_interval)
        self._sources = Sources(
            cluster=cluster,
            stores=self.controller.stores,
            settings=settings,
            pods=PodBook(self.controller.stores[POD]),
            nodes=NodeBook(self.controller.stores[NODE]),
            board=self._board,
        )

    async def run(self) -> None:
        """Look after every BertJob until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self._board.run())

    async def reconcile(self, key: Key) -> timedelta | None:
        """Bring one BertJob a step further; return when to look again."""
        if self._sources.stores[BERT_JOB].get(*key) is not None and not self._fresh.is_caught_up(key):
            return SOON
        now = self._clock()
        seen = await observe(key, self._sources, now=now)
        if seen is None:
            self._fresh.forget(key)
            return None
        if isinstance(seen, Refused):
            await self._refuse(key, seen, now)
            return None
        return await self._carry_out(seen, now)

    async def _carry_out(self, seen: Seen, now: datetime) -> timedelta | None:
        job, wanted = seen.observed.job, plan(seen.observed)
        try:
            is_news = await self._execute(wanted, seen)
        except ChildRefusedError as refused:
            wanted = refuse_child(seen.observed, ref=refused.ref, error=refused.error)
            is_news = await self._execute(wanted, seen)
        if is_news:
            self._counted(job.namespace, wanted.counts)
            await announce(wanted.events, job, cluster=self._cluster, now=now, instance=self._settings.instance)
        return wanted.requeue_after

    async def _execute(self, wanted: Plan, seen: Seen) -> bool:
        return await execute(
            wanted,
            seen.observed.job,
            cluster=self._cluster,
            found=seen.found,
            fresh=self._fresh,
            version=seen.version,
        )

    async def _refuse(self, key: Key, seen: Refused, now: datetime) -> None:
        wanted = refuse_spec(seen.stored, generation=seen.generation, now=now, errors=seen.errors)
        if wanted.status:
            ref = Ref(BERT_JOB, *key)
            stored = await self._cluster.patch_status(ref, wanted.status, uid=seen.uid, resource_version=seen.version)
            self._fresh.wrote(key, stored)
            self._counted(key[0], wanted.counts)

    def _progressed(self, pod: Object) -> None:
        key = child_key(pod)
        if key is not None:
            self.controller.queue.add(key)


def _watches(settings: Settings, pool: Pool) -> "list[Watch[Key]]":
    ours = {names.PART_OF_LABEL: metadata.PART_OF}
    namespace = settings.namespace

    def lean(value: Object) -> Object:
        return pool.keep(trimmed(value))

    children = [
        Watch(kind=kind, key_of=child_key, labels=ours, namespace=namespace, keep=lean if kind == POD else pool.keep)
        for kind in (JOB, POD, SERVICE, CONFIG_MAP, SERVICE_ACCOUNT)
    ]
    nodes: Watch[Key] = Watch(kind=NODE, key_of=lambda _: None, keep=lean)
    # Kueue's, where it is installed: they carry no label of ours.
    workloads = Watch(kind=WORKLOAD, key_of=workload_key, namespace=namespace, keep=lean)
    return [Watch(kind=BERT_JOB, key_of=job_key, namespace=namespace, keep=pool.keep), *children, nodes, workloads]
