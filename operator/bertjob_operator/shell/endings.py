"""Since when ends are seen: by this process and on a clock that nobody sets, for the server's may differ by minutes."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from bertjob_operator.plan import Observed, children

SETTLE: Final = timedelta(seconds=10)
"""How long a Job's end may be seen before the end of its pods: the two come by different watches."""
LINGER: Final = timedelta(seconds=60)
"""How long the other pods may still run when one has brought the result."""


class Firsts:
    """
    Remembers when each thing was seen first.

    Args:
        clock: gives seconds that only grow.

    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[object, dict[str, float]] = {}

    def newer(self, key: object, uids: Iterable[str], *, than: timedelta) -> frozenset[str]:
        """Return which of *uids* were seen first less than *than* ago; forgets all others of *key*."""
        known, now = self._seen.pop(key, {}), self._clock()
        seen = {uid: known.get(uid, now) for uid in uids}
        if seen:
            self._seen[key] = seen
        return frozenset(uid for uid, since in seen.items() if now - since < than.total_seconds())


class Endings:
    """Remembers the ends of Jobs and the successes of training pods; a new process only waits a little longer."""

    def __init__(self) -> None:
        self._jobs = Firsts()
        self._successes = Firsts()

    def marked(self, seen: Observed, *, key: object) -> Observed:
        """Return *seen* with the Jobs marked that are settling or lingering."""
        jobs = [job for job in (seen.preflight, seen.optimize, *seen.training_jobs) if job is not None]
        settling = self._jobs.newer(key, [job.uid for job in jobs if job.over], than=SETTLE)
        good = {
            pod.uid: job.uid for job in seen.training_jobs if not job.over for pod in job.pods.ended if _is_good(pod)
        }
        new = self._successes.newer(key, good, than=LINGER)
        lingering = {uid for pod, uid in good.items() if pod not in new}
        if not settling and not lingering:
            return seen

        def one(job: children.Job) -> children.Job:
            return replace(job, settling=job.uid in settling, lingering=job.uid in lingering)

        return replace(
            seen,
            preflight=one(seen.preflight) if seen.preflight is not None else None,
            optimize=one(seen.optimize) if seen.optimize is not None else None,
            training={attempt: one(job) for attempt, job in seen.training.items()},
        )

    def forget(self, key: object) -> None:
        """Forget a BertJob that is gone."""
        self._jobs.newer(key, (), than=SETTLE)
        self._successes.newer(key, (), than=LINGER)


def _is_good(pod: children.Pod) -> bool:
    return pod.ended is not None and pod.ended.exit_code == 0
