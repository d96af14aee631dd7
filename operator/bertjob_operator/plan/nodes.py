"""Pods on nodes that went silent."""

from collections import Counter
from datetime import timedelta
from typing import Final

from bertjob_api.cluster import POD, Object
from bertjob_api.termination import EVICTED, USER_ERROR
from bertjob_operator.plan import clock, metadata
from bertjob_operator.plan.children import Job, Pod
from bertjob_operator.plan.effects import Delete
from bertjob_operator.plan.observed import Observed

REASON: Final = "NodeLost"
MAX_FAILURES: Final = 3
"""Failed training pods after which a node is avoided: a program that fails by itself is started again within its pod."""


def is_lost(pod: Pod, seen: Observed) -> bool:
    """Tell whether *pod* has not ended and its node will not say anything more about it."""
    if pod.node is None or pod.node not in seen.silent_nodes or pod.phase in ("Succeeded", "Failed"):
        return False
    since = seen.silent_nodes[pod.node]
    overdue = pod.deletion is not None and pod.deletion <= seen.now
    return since is None or overdue or seen.now - since >= seen.platform.node_grace


def lost_of(job: Job, seen: Observed) -> list[Pod]:
    """Return the lost pods of *job*."""
    if job.pods.nodes.isdisjoint(seen.silent_nodes):
        return []
    return [pod for pod in job.pods if is_lost(pod, seen)]


def given_up(pod: Pod, seen: Observed) -> Delete:
    """
    Return the removal of a lost pod.

    Its status says Failed first, as a disruption: the Job controller replaces a pod only then, and does not count it.
    """
    conditions = [item for item in pod.conditions if item.get("type") not in ("DisruptionTarget", "Ready")]
    now = clock.stamp(seen.now)
    message = f"node {pod.node} does not answer"
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": REASON, "message": message}
    unready = {"type": "Ready", "status": "False", "reason": REASON}
    added = [{**item, "lastTransitionTime": now} for item in (disrupted, unready)]
    return Delete(
        ref=metadata.ref(seen.job, POD, pod.name),
        uid=pod.uid,
        grace_seconds=0,
        status_first={"phase": "Failed", "reason": REASON, "message": message, "conditions": [*conditions, *added]},
    )


def lost(seen: Observed) -> tuple[Delete, ...]:
    """Return the removal of every lost pod of the job's Jobs."""
    jobs = [seen.preflight, *seen.training_jobs, seen.optimize]
    return tuple(given_up(pod, seen) for job in jobs if job is not None for pod in lost_of(job, seen))


def bad(seen: Observed) -> frozenset[str]:
    """Return the nodes on which so many training pods have failed that the next attempt avoids them."""
    failed = [pod for job in seen.training_jobs for pod in job.pods.ended if _is_failure(pod)]
    counts = Counter(pod.node for pod in failed)
    return frozenset(node for node, count in counts.items() if node is not None and count >= MAX_FAILURES)


def _is_failure(pod: Pod) -> bool:
    """Tell whether the node may be why *pod* failed: neither the infrastructure ended it, nor is it a mistake of the user."""
    return pod.ended is not None and pod.ended.exit_code not in (0, USER_ERROR, EVICTED) and not pod.disrupted


def avoided(job: Job) -> frozenset[str]:
    """Return the nodes that the pods of *job* avoid."""
    return frozenset(job.annotations.get(metadata.AVOIDED_ANNOTATION, "").split())


def avoiding(template: Object, nodes: frozenset[str]) -> Object:
    """Return a pod template that prefers other *nodes*; what the user prefers stays, and none is forbidden: it may be the only one."""
    if not nodes:
        return template
    terms = [
        {
            "weight": 100,
            "preference": {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": [node]}]},
        }
        for node in sorted(nodes)
    ]
    affinity = template["spec"].get("affinity") or {}
    node = affinity.get("nodeAffinity") or {}
    key = "preferredDuringSchedulingIgnoredDuringExecution"
    preferring = {**affinity, "nodeAffinity": {**node, key: [*node.get(key, ()), *terms]}}
    return {**template, "spec": {**template["spec"], "affinity": preferring}}


def look_again(seen: Observed) -> timedelta | None:
    """Return the time after which the first silent node is given up; None: no node is silent."""
    waits = [
        max(since + seen.platform.node_grace - seen.now, timedelta(seconds=1))
        for since in seen.silent_nodes.values()
        if since is not None
    ]
    return min(waits, default=None)
