"""What people see of a BertJob by kubectl, on the real API server."""

from collections.abc import Callable

import pytest
from support.jobs import a_job
from support.operating import SETTINGS, found, together

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, SERVICE_ACCOUNT, Ref
from bertjob_cli import main
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.http import connect
from bertjob_operator.shell.operator import run

pytestmark = pytest.mark.cluster

JOB = a_job(training={"replicas": 2})


async def test_workers_have_no_rights(real_controllers: LocalCluster, namespace: str) -> None:
    """The ServiceAccount of the job's pods may do what any account may, and gets no token."""
    account = names.worker_account_name("sentiment")
    async with connect(real_controllers.layout.kubeconfig) as cluster, together(run(cluster, SETTINGS)):
        await cluster.apply({**JOB, "metadata": {"name": "sentiment", "namespace": namespace}}, manager="user")
        made = await found(cluster, SERVICE_ACCOUNT, lambda each: _is(each, namespace, account))

    def rights(name: str) -> str:
        who = f"--as=system:serviceaccount:{namespace}:{name}"
        return real_controllers.kubectl("auth", "can-i", "--list", who, f"--namespace={namespace}")

    assert made["automountServiceAccountToken"] is False
    assert rights(account) == rights("nobody-in-particular")
    assert not {"pods", "secrets", "bertjobs.bertjob.dev"} & {line.split()[0] for line in rights(account).splitlines()}


def _is(value: "dict[str, object]", namespace: str, name: str) -> bool:
    metadata = value["metadata"]
    assert isinstance(metadata, dict)
    return (metadata["namespace"], metadata["name"]) == (namespace, name)


async def test_columns(real_controllers: LocalCluster, namespace: str) -> None:
    """Kubectl get shows phase, nodes, progress, gate and traffic, by the short name and the category too."""
    async with connect(real_controllers.layout.kubeconfig) as cluster:
        await cluster.apply({**JOB, "metadata": {"name": "sentiment", "namespace": namespace}}, manager="user")
        status = {
            "phase": "RollingOut",
            "nodes": "2/2",
            "progress": "88 %",
            "evaluation": {"verdict": "Passed"},
            "rollout": {"service": "docs", "trafficPercent": 50},
            "training": {"restarts": 3},
            "lastFailure": {"phase": "train", "reason": "OutOfMemory", "message": "killed"},
        }
        await cluster.patch_status(Ref(BERT_JOB, namespace, "sentiment"), status)

    head, row = real_controllers.kubectl("get", "bj", f"--namespace={namespace}").splitlines()
    assert head.split() == ["NAME", "PHASE", "NODES", "PROGRESS", "GATE", "TRAFFIC", "AGE"]
    assert row.split()[:7] == ["sentiment", "RollingOut", "2/2", "88", "%", "Passed", "50"]
    head, row = real_controllers.kubectl("get", "ml", "-o", "wide", f"--namespace={namespace}").splitlines()
    assert head.split()[7:] == ["MODEL", "SERVICE", "RESTARTS", "REASON"]
    assert row.split()[-2:] == ["3", "OutOfMemory"]


def test_logs_of_no_job(
    real_controllers: LocalCluster,
    namespace: str,
    cluster_env: Callable[[LocalCluster], dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Logs of a job that is not there are refused by name, with the way to find those that are."""
    cluster_env(real_controllers)

    code = main.main(["logs", "nosuch", "-n", namespace])

    assert code == 2
    assert f"BertJob {namespace}/nosuch: not found; `kubectl get bertjobs -A`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("bertjob", "A BERT model from data to served INT8"),
        ("bertjob.spec.gate.maxAccuracyDrop", "maxAccuracyDrop <number>"),
        ("bertjob.status.lastFailure.exitCode", "Exit code of the container."),
    ],
)
def test_explain(real_controllers: LocalCluster, namespace: str, field: str, said: str) -> None:
    """Kubectl explain has the sentences of the types."""
    assert said in real_controllers.kubectl("explain", field)
