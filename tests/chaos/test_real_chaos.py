"""
Everything that can be lost is lost, on a cluster of real parts: the run ends well, on exactly the samples of an undisturbed one.

Each disturbance waits until training has moved on since the one before, so each hits a run that is under way.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from support.installed import chart, operator_pid, put_inputs, put_secret
from support.real_run import Run, assert_unharmed, eventually

from bertjob_api import names
from bertjob_local.parts import LocalCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

NAMESPACE = "chaos-jobs"
ELASTIC = {"replicas": 2, "elastic": {"min": 1, "max": 3}}


@pytest.fixture(scope="module")
def installed(local_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give the local cluster with the chart, and a namespace with storage, model and data."""
    with chart(local_cluster) as cluster:
        cluster.kubectl("create", "namespace", NAMESPACE)
        put_inputs(cluster, NAMESPACE, tmp_path_factory.mktemp("inputs"))
        put_secret(cluster, NAMESPACE)
        yield cluster
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_processes_die(installed: LocalCluster) -> None:
    """Worker, launcher, supervisor, rendezvous store, operator and S3 are killed, and a worker hangs: nothing is lost."""
    run = Run(installed, NAMESPACE, "processes", training=ELASTIC)
    eventually(lambda: run.pids("bertjob_trainer.worker"))
    run.moved_on()
    run.signal("bertjob_trainer.worker", signal.SIGKILL)
    run.moved_on()
    run.signal("bertjob_trainer.store", signal.SIGKILL)
    run.signal("bertjob_trainer.worker", signal.SIGSTOP)
    run.moved_on()
    installed.kill("s3")
    run.moved_on()
    installed.start("s3")
    run.signal("bertjob_trainer.launcher", signal.SIGKILL)
    os.kill(operator_pid(installed), signal.SIGKILL)
    run.moved_on()
    run.signal("bertjob_trainer.supervisor", signal.SIGKILL)
    assert_unharmed(run)


def test_objects_change(installed: LocalCluster) -> None:
    """The job is scaled up and down, suspended and resumed, a pod evicted and its Job deleted: nothing is lost."""
    run = Run(installed, NAMESPACE, "objects", training=ELASTIC)
    eventually(lambda: run.pids("bertjob_trainer.worker"))
    run.moved_on()
    for replicas in (3, 1, 2):
        run.kubectl("scale", "bertjob", run.name, f"--replicas={replicas}")
        run.moved_on()
    for suspend in ("true", "false"):
        run.kubectl("patch", "bertjob", run.name, "--type=merge", f'--patch={{"spec":{{"suspend":{suspend}}}}}')
        if suspend == "true":
            eventually(lambda: not run.pids("bertjob_trainer.worker"))
    run.moved_on()
    run.signal("bertjob_trainer.supervisor", signal.SIGTERM)
    run.moved_on()
    selector = f"{names.JOB_LABEL}={run.name},{names.COMPONENT_LABEL}={names.TRAIN}"
    run.kubectl("delete", "job", f"--selector={selector}", "--wait=false")
    assert_unharmed(run)
