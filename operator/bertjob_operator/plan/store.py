"""The rendezvous store: kept while training runs, removed afterwards."""

from bertjob_api import names
from bertjob_api.cluster import POD, SERVICE, Object
from bertjob_operator.plan import attempts, base, metadata, nodes, quota
from bertjob_operator.plan.children import Job
from bertjob_operator.plan.effects import Delete
from bertjob_operator.plan.observed import Observed


def address_in(job: Job | None) -> str | None:
    """Return the store's address that the pods of *job* know; None: there is no Job, or it says none."""
    containers = ((job.spec.get("template") or {}).get("spec") or {}).get("containers") or () if job else ()
    for container in containers:
        for item in container.get("env") or ():
            if item.get("name") == names.RDZV_ENDPOINT_ENV and item.get("value"):
                return str(item["value"]).rpartition(":")[0]
    return None


def kept(seen: Observed) -> tuple[tuple[Object, ...], tuple[Delete, ...]]:
    """Return what brings the store up, and what removes a store pod that cannot work any more."""
    job = attempts.job(seen)
    address = address_in(job) if job is not None and not job.over else None
    current = seen.store_service.cluster_ip if seen.store_service is not None else None
    service = base.store_service(seen.job, address=current or address)
    if quota.is_waiting(job):
        # One that is started afresh holds no half-finished rendezvous of pods that are gone.
        return (service,), pod_removed(seen)
    if seen.store is None:
        return (service, base.store_pod(seen)), ()
    ended = seen.store.phase in ("Succeeded", "Failed")
    return (service,), pod_removed(seen) if ended or nodes.is_lost(seen.store, seen) else ()


def pod_removed(seen: Observed) -> tuple[Delete, ...]:
    """Return the removal of the pod alone; the Service keeps its address for the workers to come."""
    if seen.store is None:
        return ()
    if nodes.is_lost(seen.store, seen):
        return (nodes.given_up(seen.store, seen),)
    removal = Delete(ref=metadata.ref(seen.job, POD, seen.store.name), uid=seen.store.uid)
    return (removal,) if seen.store.deletion is None else ()


def removed(seen: Observed) -> tuple[Delete, ...]:
    """Return the removal of pod and Service, as far as they are there."""
    found = seen.store_service
    if found is None:
        return pod_removed(seen)
    return (*pod_removed(seen), Delete(ref=metadata.ref(seen.job, SERVICE, found.name), uid=found.uid))
