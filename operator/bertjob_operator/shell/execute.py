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
from bertjob_operator.plan import Delete, Event, Plan, drift, events

logger = logging.getLogger(__name__)


class ChildRefusedError(Exception):
    """The API server refused a child for good: trying again would give the same."""

    def __init__(self, ref: Ref, error: InvalidError) -> None:
        self.ref = ref
        self.error = error
        super().__init__(f"{ref}: {error}")


async def execute(
    plan: Plan, job: BertJob, *, cluster: Cluster, found: Mapping[Ref, Object], version: str | None = None
) -> Object | None:
    """
    Carry *plan* out up to the status, and return the BertJob as stored; None: its status stood already.

    Args:
        plan: what to do.
        job: the BertJob it is for.
        cluster: where to do it.
        found: children as they stand; one that has every wanted field is not written.
        version: of the BertJob that the plan is for: a status is not written over a newer one. None: whatever stands.

    Raises:
        ChildRefusedError: a child is invalid.
        ClusterError: anything else; the next cycle goes on.

    """
    for wanted in plan.apply:
        await _apply(wanted, cluster=cluster, found=found)
    for change in plan.replace:
        await cluster.replace(
            change.ref,
            change.path,
            old=change.old,
            new=change.new,
            uid=change.uid,
            resource_version=change.resource_version,
        )
    for removal in plan.delete:
        await _delete(removal, cluster=cluster)
    if not plan.status:
        return None
    ref = Ref(BERT_JOB, job.namespace, job.name)
    return await cluster.patch_status(ref, plan.status, uid=job.uid, resource_version=version)


async def _apply(wanted: Object, *, cluster: Cluster, found: Mapping[Ref, Object]) -> None:
    ref = ref_of(wanted)
    if ref in found and drift.stands(wanted, found[ref]):
        return
    try:
        await cluster.apply(wanted, manager=names.FIELD_MANAGER)
    except InvalidError as error:
        raise ChildRefusedError(ref, error) from error


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
