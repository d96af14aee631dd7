"""What the operator counts about BertJobs, in Prometheus' terms; names of jobs are never among the labels."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bertjob_api.cluster import Object
from bertjob_operator.plan import Count
from bertjob_operator.plan.clock import instant
from bertjob_operator.runtime.store import Store

BUCKETS: Final = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 172_800.0)
"""Seconds: from a preflight to days of training."""


class JobMetrics(Collector):
    """Counters that grow with each stored status, and gauges that are read from a cache when asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs: Iterable[Object] = ()
        self._counters = {
            "jobs": Counter("bertjob_jobs", "Jobs that ended, by result.", ["namespace", "result"], registry=registry),
            "gate": Counter("bertjob_gate", "Verdicts of the gate.", ["namespace", "result"], registry=registry),
            "rollouts": Counter(
                "bertjob_rollouts", "Rollouts that ended, by result.", ["namespace", "result"], registry=registry
            ),
            "restarts": Counter(
                "bertjob_restarts", "Restarts of training, by cause.", ["namespace", "cause"], registry=registry
            ),
        }
        self._rollbacks = Counter(
            "bertjob_rollback", "Rollouts after which the old model came back.", ["namespace"], registry=registry
        )
        self._phases = Histogram(
            "bertjob_phase_duration_seconds",
            "Time that a phase took, suspension included.",
            ["namespace", "phase"],
            buckets=BUCKETS,
            registry=registry,
        )
        registry.register(self)

    def watch(self, jobs: Store) -> None:
        """Show the BertJobs in the cache *jobs* from now on."""
        self._jobs = jobs

    def count(self, namespace: str, counts: Iterable[Count]) -> None:
        """Add *counts* of a job in *namespace*."""
        for each in counts:
            if each.metric == "phases":
                self._phases.labels(namespace, each.label).observe(each.amount)
            elif each.metric == "rollbacks":
                self._rollbacks.labels(namespace).inc(each.amount)
            else:
                self._counters[each.metric].labels(namespace, each.label).inc(each.amount)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges as the cache has them now."""
        number = GaugeMetricFamily("bertjob_jobs", "Jobs that are there.", labels=["namespace", "phase"])
        for (namespace, phase), count in sorted(Tally(map(_place, self._jobs)).items()):
            number.add_metric([namespace, phase], count)
        yield number
        age = GaugeMetricFamily(
            "bertjob_checkpoint_age_seconds",
            "Age of the newest committed checkpoint, of the job in training that has the oldest.",
            labels=["namespace"],
        )
        for namespace, oldest in sorted(_oldest(self._jobs).items()):
            age.add_metric([namespace], max((datetime.now(UTC) - oldest).total_seconds(), 0.0))
        yield age


def _place(job: Object) -> tuple[str, str]:
    return job["metadata"]["namespace"], (job.get("status") or {}).get("phase") or "Pending"


def _oldest(jobs: Iterable[Object]) -> dict[str, datetime]:
    """Return by namespace when the oldest newest checkpoint of a job in training was committed."""
    found: dict[str, datetime] = {}
    for job in jobs:
        namespace, phase = _place(job)
        training = (job.get("status") or {}).get("training") or {}
        time = instant((training.get("lastCheckpoint") or {}).get("time"))
        if phase == "Training" and time is not None:
            found[namespace] = min(time, found.get(namespace, time))
    return found
