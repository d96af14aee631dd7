"""
Carries a plan out, in one fixed order: apply, replace, delete, one status write, events.

A crash between any two steps is repaired by the next cycle, because the plan depends on the cluster alone.
"""

import logging
from collections.abc import Mapping
from datetime import datetime

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, Cluster, ClusterError, InvalidError, NotFoundError, Object, Ref, ref_of
from bertjob_api.job import BertJob
from bertjob_operator.plan import Delete, Event, Plan, Replace, drift, events
from bertjob_operator.shell.freshness import Freshness

logger = logging.getLogger(__name__)


class ChildRefusedError(Exception):
    """The API server refused a child for good: trying again would give the same."""

    def __init__(self, ref: Ref, error: InvalidError) -> None:
        self.ref = ref
        self.error = error
        super().__init__(f"{ref}: {error}")


async def execute(
    plan: Plan,
    job: BertJob,
    *,
    cluster: Cluster,
    found: Mapping[Ref, Object],
    fresh: Freshness,
    version: str | None = None,
) -> bool:
    """
    Carry *plan* out up to the status, and tell whether there was a status to write.

    Args:
        plan: what to do.
        job: the BertJob it is for.
        cluster: where to do it.
        found: children as they stand; one that has every wanted field is not written.
        fresh: told of every write, so that the next plan is not made before the caches show it.
        version: of the BertJob that the plan is for: a status is not written over a newer one. None: whatever stands.

    Raises:
        ChildRefusedError: a child is invalid.
        ClusterError: anything else; the next cycle goes on.

    """
    key = (job.namespace, job.name)
    for wanted in plan.apply:
        if not _stands(wanted, found):
            fresh.wrote(key, await _apply(wanted, cluster=cluster))
    for change in plan.replace:
        fresh.wrote(key, await _replace(change, cluster=cluster))
    for removal in plan.delete:
        await _delete(removal, cluster=cluster)
        fresh.deleted(key, removal.ref, uid=removal.uid)
    if not plan.status:
        return False
    ref = Ref(BERT_JOB, *key)
    fresh.wrote(key, await cluster.patch_status(ref, plan.status, uid=job.uid, resource_version=version))
    return True


def _stands(wanted: Object, found: Mapping[Ref, Object]) -> bool:
    ref = ref_of(wanted)
    return ref in found and drift.stands(wanted, found[ref])


async def _apply(wanted: Object, *, cluster: Cluster) -> Object:
    try:
        return await cluster.apply(wanted, manager=names.FIELD_MANAGER)
    except InvalidError as error:
        raise ChildRefusedError(ref_of(wanted), error) from error


async def _replace(change: Replace, *, cluster: Cluster) -> Object:
    return await cluster.replace(
        change.ref,
        change.path,
        old=change.old,
        new=change.new,
        uid=change.uid,
        resource_version=change.resource_version,
    )


async def _delete(removal: Delete, *, cluster: Cluster) -> None:
    if removal.status_first is not None:
        try:
            await cluster.patch_status(removal.ref, removal.status_first, uid=removal.uid)
        except NotFoundError:
            return
    await cluster.delete(removal.ref, uid=removal.uid, grace_seconds=removal.grace_seconds)


async def announce(found: tuple[Event, ...], job: BertJob, *, cluster: Cluster, now: datetime, instance: str) -> None:
    """Write events, once the status they tell of is stored; one that cannot be written is only logged."""
    for event in found:
        try:
            await cluster.apply(
                events.manifest(event, job=job, now=now, instance=instance), manager=names.FIELD_MANAGER
            )
        except ClusterError as error:
            logger.warning("event %s of BertJob %s/%s: %s", event.reason, job.namespace, job.name, error)
