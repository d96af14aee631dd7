"""Pods on nodes that went silent."""

from datetime import timedelta
from typing import Final

from bertjob_api.cluster import POD
from bertjob_operator.plan import clock, metadata
from bertjob_operator.plan.children import Pod
from bertjob_operator.plan.effects import Delete
from bertjob_operator.plan.observed import Observed

REASON: Final = "NodeLost"


def is_lost(pod: Pod, seen: Observed) -> bool:
    """Tell whether *pod* has not ended and its node will not say anything more about it."""
    if pod.node is None or pod.node not in seen.silent_nodes or pod.phase in ("Succeeded", "Failed"):
        return False
    since = seen.silent_nodes[pod.node]
    overdue = pod.deletion is not None and pod.deletion <= seen.now
    return since is None or overdue or seen.now - since >= seen.platform.node_grace


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
    pods = [pod for job in jobs if job is not None for pod in job.pods]
    return tuple(given_up(pod, seen) for pod in pods if is_lost(pod, seen))


def look_again(seen: Observed) -> timedelta | None:
    """Return the time after which the first silent node is given up; None: no node is silent."""
    waits = [
        max(since + seen.platform.node_grace - seen.now, timedelta(seconds=1))
        for since in seen.silent_nodes.values()
        if since is not None
    ]
    return min(waits, default=None)
