"""Kueue takes a training job's quota away for a more urgent one and gives it back: real Kueue, real workers, real checkpoints."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support import kueue
from support.cluster import running, settings_for
from support.installed import a_tiny_job, chart, put_inputs, put_secret
from support.operating import condition
from support.real_run import Run, assert_unharmed, eventually

from bertjob_local.parts import ALL_PARTS, LocalCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

NAMESPACE = "queued-jobs"
PARTS = tuple(part for part in ALL_PARTS if part != "kserve")


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give a cluster with Kueue and the chart, and a namespace whose queue has one CPU."""
    kueue.need()
    folders = [tmp_path_factory.mktemp(name) for name in ("queued", "kueue", "inputs")]
    with running(folders[0], settings_for(*PARTS)) as cluster, kueue.running(cluster, folders[1]), chart(cluster):
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("create", "priorityclass", "urgent", "--value=1000")
        kueue.quota(cluster, NAMESPACE, cpu="1")
        put_inputs(cluster, NAMESPACE, folders[2])
        put_secret(cluster, NAMESPACE)
        yield cluster


def _why_unscheduled(run: Run) -> dict[str, Any]:
    """Return the condition Scheduled while the job waits for quota, else {}."""
    found = condition({"status": run.status}, "Scheduled")
    return found if found.get("reason") == "WaitingForQuota" else {}


def test_preempted_job_goes_on_at_its_checkpoint(queued: LocalCluster) -> None:
    """The urgent job runs at once; the other one saves, waits, resumes where it was, and has trained as if left alone."""
    patient = Run(queued, NAMESPACE, "patient", epochs=300, queueName="team", backoff={"limit": 0})
    patient.moved_on(by=250)
    urgent = a_tiny_job(NAMESPACE, "urgent", queueName="team", priorityClassName="urgent", optimize=None, gate=None)
    queued.kubectl("apply", "--filename=-", stdin=json.dumps(urgent))

    why = eventually(lambda: _why_unscheduled(patient))
    stopped_at = patient.status["training"]["step"]
    wait = ("wait", "bertjob/urgent", "--for=condition=Succeeded", "--timeout=240s")
    patient.kubectl(*wait)
    assert_unharmed(patient)

    training = patient.status["training"]
    assert "Preempted to accommodate a workload" in why["message"]
    # The periodic checkpoints are 200 steps apart; this one was made because the pod was asked to end.
    assert training["resumedFromStep"] >= stopped_at >= 250
    assert (training["restarts"], training["disruptions"], patient.status["attempt"]) == (0, 1, 0)
