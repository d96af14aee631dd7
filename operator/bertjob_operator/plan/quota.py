"""
Quota: what Kueue decides about a job's Jobs, and how the job's own suspension reaches Kueue.

Kueue suspends and resumes a Job that has a queue; whoever else writes ``spec.suspend`` would only be contradicted. So a Job in a
queue is stopped by making its Workload inactive, which is Kueue's way, and started by making it active again.

Source: https://kueue.sigs.k8s.io/docs/concepts/workload/#active
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from bertjob_api import names
from bertjob_api.cluster import WORKLOAD, Object
from bertjob_api.conditions import SUSPENDED
from bertjob_api.job import BertJob
from bertjob_operator.plan import condition_list, metadata, text
from bertjob_operator.plan.children import Job
from bertjob_operator.plan.effects import Replace
from bertjob_operator.plan.observed import Observed

REASON: Final = "WaitingForQuota"
_ACTIVE_PATH: Final = "/spec/active"


def labels(job: BertJob, existing: Job | None) -> dict[str, str]:
    """Return Kueue's labels of a Job; those of one that exists stay: Kueue refuses another queue while it runs."""
    if existing is not None:
        return _kueues(existing.labels)
    queue = job.spec.queue_name
    return {**_kueues(job.labels), **({names.QUEUE_LABEL: queue} if queue is not None else {})}


def annotations(job: BertJob, existing: Job | None) -> dict[str, str]:
    """Return Kueue's annotations of a training Job: with elastic bounds it says that its size may change."""
    if existing is not None:
        found = existing.annotations.get(names.ELASTIC_QUEUE_ANNOTATION)
        return {names.ELASTIC_QUEUE_ANNOTATION: found} if found is not None else {}
    is_elastic = job.spec.training.elastic is not None and names.QUEUE_LABEL in labels(job, None)
    return {names.ELASTIC_QUEUE_ANNOTATION: "true"} if is_elastic else {}


def _kueues(found: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in found.items() if key.startswith(names.KUEUE_DOMAIN)}


def with_suspend(job: BertJob, spec: Object, existing: Job | None) -> Object:
    """Return *spec* with ``suspend`` as it is to be: what Kueue has set stays, from the Job's creation on."""
    queued = names.QUEUE_LABEL in labels(job, existing)
    if job.spec.suspend or not queued:
        return {**spec, "suspend": job.spec.suspend}
    if existing is None:
        return spec
    resumes = not existing.workloads and condition_list.holds(job.status, SUSPENDED)
    return {**spec, "suspend": existing.suspended and not resumes}


def is_waiting(child: Job | None) -> bool:
    """Tell whether *child* has no quota, or not any more."""
    if child is None or child.over:
        return False
    held_back = child.suspended or bool(child.workloads)
    return names.QUEUE_LABEL in child.labels and held_back and not any(each.admitted for each in child.workloads)


def is_evicted(child: Job) -> bool:
    """Tell whether Kueue takes the pods of *child* away."""
    return any(each.evicted for each in child.workloads)


def message(child: Job) -> str:
    """Return what a waiting *child* waits for, with Kueue's own words."""
    words = [each.message for each in child.workloads if each.message is not None]
    inactive = any(not each.active for each in child.workloads)
    why = "its Workload is not active" if inactive and not words else words[-1] if words else "Kueue has not said why"
    return text.sentence(f"waiting for quota in LocalQueue {child.labels[names.QUEUE_LABEL]}: {why}")


def evictions(children: Iterable[Job]) -> int:
    """Return how often Kueue took quota back from *children* that have not ended."""
    return sum(each.evictions for child in children for each in child.workloads)


def started(children: Iterable[Job | None]) -> list[datetime]:
    """Return when the *children* with a queue were last admitted."""
    return [
        child.started
        for child in children
        if child is not None and child.started is not None and names.QUEUE_LABEL in child.labels
    ]


def stopped(seen: Observed, children: Iterable[Job]) -> tuple[Replace, ...]:
    """Return what makes Kueue stop the unfinished *children*."""
    return _switched(seen, children, active=False)


def resumed(seen: Observed) -> tuple[Replace, ...]:
    """Return what puts the Jobs back into their queue after a suspension of ours; what others took out stays out."""
    if not condition_list.holds(seen.job.status, SUSPENDED):
        return ()
    children = (seen.preflight, *seen.training_jobs, seen.optimize)
    return _switched(seen, (child for child in children if child is not None), active=True)


def _switched(seen: Observed, children: Iterable[Job], *, active: bool) -> tuple[Replace, ...]:
    return tuple(
        Replace(
            ref=metadata.ref(seen.job, WORKLOAD, each.name),
            path=_ACTIVE_PATH,
            old=not active,
            new=active,
            uid=each.uid,
        )
        for child in children
        if not child.over
        for each in child.workloads
        if each.active is not active
    )
