"""What the runtime itself counts, in Prometheus' terms; others may register theirs in the same registry."""

from collections.abc import Sized
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from bertjob_operator.runtime import controller
from bertjob_operator.runtime.controller import Reconciled
from bertjob_operator.runtime.lease import Elector

BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Seconds. A turn that writes nothing takes a millisecond, one that writes some, one that waits for timeouts, 30 s."""


class Metrics:
    """The metrics of one process; label values are few and fixed, names of jobs are never among them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._turns = Counter(
            "bertjob_reconcile",
            "Calls of reconcile by result: done, again, retry, error.",
            ["result"],
            registry=self.registry,
        )
        self._duration = Histogram(
            "bertjob_reconcile_duration_seconds", "Duration of one reconcile.", buckets=BUCKETS, registry=self.registry
        )
        self._depth = Gauge("bertjob_queue_depth", "Keys that wait for a worker.", registry=self.registry)
        self._leader = Gauge("bertjob_leader", "1 while this process leads, else 0.", registry=self.registry)

    def observe(self, turn: Reconciled) -> None:
        """Count one turn and log it; an ``observe`` for a Controller."""
        self._turns.labels(turn.result).inc()
        self._duration.observe(turn.duration.total_seconds())
        controller.log(turn)

    def watch_queue(self, queue: Sized) -> None:
        """Show the length of *queue* from now on."""
        self._depth.set_function(lambda: len(queue))

    def watch_leader(self, elector: Elector) -> None:
        """Show whether *elector* leads from now on."""
        self._leader.set_function(lambda: elector.leading)

    def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self.registry)
