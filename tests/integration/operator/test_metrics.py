"""What the operator tells Prometheus about jobs that run on the embedded cluster."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.operating import SETTINGS, together, until
from support.scenarios import JOB_OBJECT, SCENARIOS, begun, settled

from bertjob_api.cluster import BERT_JOB, Change, Ref
from bertjob_operator.shell.job_metrics import JobMetrics
from bertjob_operator.shell.operator import Operator


def _samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Return values by name and sorted label values; buckets and times of creation left out."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created", "_sum"))
    }


EXPECTED: dict[str, dict[tuple[str, ...], float]] = {
    "live service": {
        ("bertjob_jobs", "default", "Succeeded"): 1,
        ("bertjob_jobs_total", "default", "succeeded"): 1,
        ("bertjob_gate_total", "default", "passed"): 1,
        ("bertjob_rollouts_total", "default", "successful"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Pending"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Training"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Optimizing"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "RollingOut"): 1,
    },
    "rollback": {
        ("bertjob_jobs", "default", "Failed"): 1,
        ("bertjob_jobs_total", "default", "failed"): 1,
        ("bertjob_gate_total", "default", "passed"): 1,
        ("bertjob_rollouts_total", "default", "failed"): 1,
        ("bertjob_rollback_total", "default"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Pending"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Training"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Optimizing"): 1,
    },
    "a pod fails": {
        ("bertjob_jobs", "default", "Succeeded"): 1,
        ("bertjob_jobs_total", "default", "succeeded"): 1,
        ("bertjob_gate_total", "default", "passed"): 1,
        ("bertjob_rollouts_total", "default", "successful"): 1,
        ("bertjob_restarts_total", "failure", "default"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Pending"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Training"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "Optimizing"): 1,
        ("bertjob_phase_duration_seconds_count", "default", "RollingOut"): 1,
    },
}


@pytest.mark.parametrize("name", EXPECTED)
async def test_way_of_a_job_is_counted(name: str) -> None:
    """Each verdict, rollback, restart and phase is counted once; no job's name is a label."""
    cluster, kubelet = await begun(SCENARIOS[name])
    registry = CollectorRegistry()
    metrics = JobMetrics(registry)
    operator = Operator(cluster, SETTINGS, counted=metrics.count)
    metrics.watch(operator.controller.stores[BERT_JOB])
    async with together(cluster.run(), kubelet.run(), operator.run()):
        await cluster.apply(JOB_OBJECT, manager="user")
        await until(cluster, JOB_OBJECT, "Succeeded", "Failed")
        await settled(cluster)

    assert _samples(registry) == EXPECTED[name]


async def test_checkpoint_age_is_that_of_the_oldest() -> None:
    """Of several jobs in training the one that has gone longest without a checkpoint is shown."""
    cluster, _ = await begun({})
    registry = CollectorRegistry()
    metrics = JobMetrics(registry)
    operator = Operator(cluster, SETTINGS)
    metrics.watch(operator.controller.stores[BERT_JOB])
    for name, year, phase in (("a", 2001, "Training"), ("b", 2002, "Training"), ("c", 2000, "Succeeded")):
        await cluster.apply({**JOB_OBJECT, "metadata": {"name": name, "namespace": "default"}}, manager="user")
        checkpoint = {"step": 1, "uri": "s3://b/c", "time": f"{year}-01-01T00:00:00Z"}
        status: dict[str, Any] = {"phase": phase, "training": {"lastCheckpoint": checkpoint}}
        await cluster.patch_status(Ref(BERT_JOB, "default", name), status)
    for job in await cluster.list(BERT_JOB):
        operator.controller.stores[BERT_JOB].feed(Change("Added", job))
    shown = _samples(registry)["bertjob_checkpoint_age_seconds", "default"]

    assert shown == pytest.approx((datetime.now(UTC) - datetime(2001, 1, 1, tzinfo=UTC)).total_seconds(), abs=600)
