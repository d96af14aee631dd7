"""Training attempts: which one is current, and how many failures and disruptions there were."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from bertjob_api.termination import EVICTED
from bertjob_operator.plan import clock, nodes, quota, results
from bertjob_operator.plan.children import Job, Pod, Pods
from bertjob_operator.plan.observed import Observed

UID_LENGTH: Final = 8
"""Characters of a uid that tell the pods of one Job apart."""


def current(seen: Observed) -> int:
    """Return the newest attempt whose Job was seen, or 0."""
    return max([seen.job.status.attempt, *seen.training])


def job(seen: Observed) -> Job | None:
    """Return the Job of the current attempt, or None."""
    return seen.training.get(current(seen))


def pods(seen: Observed) -> Pods:
    """Return the pods of the current attempt."""
    current_job = job(seen)
    return current_job.pods if current_job is not None else Pods()


def has_started(seen: Observed) -> bool:
    """Tell whether a training Job was seen before; the status says so even when the Job was deleted."""
    return bool(seen.training) or seen.job.status.training is not None


def is_missing(seen: Observed) -> bool:
    """Tell whether the current attempt's Job was deleted under our feet."""
    return has_started(seen) and job(seen) is None


def is_disrupted(pod: Pod) -> bool:
    """Tell whether something from outside ended *pod*, not its program."""
    asked_to_end = pod.deletion is not None or (pod.ended is not None and pod.ended.exit_code == EVICTED)
    return pod.disrupted or asked_to_end


def is_paused(seen: Observed) -> bool:
    """Tell whether nothing may run: suspended, or scaled to no nodes before the model is there."""
    return seen.job.spec.suspend or (seen.job.spec.training.replicas == 0 and results.model(seen) is None)


def disrupted(each: Job, seen: Observed) -> frozenset[str]:
    """Return the shortened uids of the pods of *each* that were lost so far; what we ended ourselves is no loss."""
    if each.suspended or quota.is_evicted(each) or is_paused(seen):
        return each.disrupted
    ended = [pod for pod in results.failed(each) if is_disrupted(pod)]
    lost = nodes.lost_of(each, seen)
    wanted = min(each.completions, seen.job.spec.training.replicas)
    return each.disrupted | {pod.uid[:UID_LENGTH] for pod in (*ended, *lost) if (pod.index or 0) < wanted}


def _failures(each: Job, seen: Observed) -> Iterator[datetime]:
    """
    Yield the time of each failure in one attempt; a Job that ended with neither a result nor a failed pod counts once.

    One that has just ended does not: a cache that is behind may show its end before those of its pods.
    """
    own = [pod for pod in results.failed(each) if not is_disrupted(pod)]
    for pod in own:
        assert pod.ended is not None
        yield pod.ended.time or seen.now
    if each.over and not own and results.result(each) is None and not each.settling:
        yield each.finished or seen.now


def num_failures(seen: Observed, *, since: datetime | None = None) -> int:
    """Return the failures of the program in all attempts, or those from *since* on."""
    times = [time for each in seen.training_jobs for time in _failures(each, seen)]
    return sum(since is None or time >= since for time in times)


def num_recent(seen: Observed) -> int:
    """Return the failures within the window of ``spec.backoff``."""
    return num_failures(seen, since=seen.now - clock.duration(seen.job.spec.backoff.window))


def num_disruptions(seen: Observed) -> int:
    """Return how often the infrastructure ended a pod, Kueue took a Job's quota back, or somebody deleted a Job."""
    deleted = current(seen) + 1 - len(seen.training) if has_started(seen) else 0
    lost = sum(len(disrupted(each, seen)) for each in seen.training_jobs)
    return lost + deleted + quota.evictions(seen.training_jobs)
