"""The chart on a real API server: what is installed, what the operator may do there, and what is left afterwards."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.helm import CHART, on, only, rendered
from support.jobs import a_job

from bertjob_local.parts import LocalCluster

pytestmark = pytest.mark.cluster

CRD = "customresourcedefinition/bertjobs.bertjob.dev"


@contextmanager
def _installed(cluster: LocalCluster, namespace: str, *values: str) -> Iterator[str]:
    """Install the chart into *namespace* and give the name by which the API server knows the operator."""
    words = [word for value in values for word in ("--set", value)]
    on(cluster, "install", "bertjob", str(CHART), f"--namespace={namespace}", "--take-ownership", *words)
    try:
        yield f"system:serviceaccount:{namespace}:bertjob-operator"
    finally:
        on(cluster, "uninstall", "bertjob", f"--namespace={namespace}")


def _may(cluster: LocalCluster, who: str, *request: str) -> bool:
    """Ask the API server whether *who* may do something."""
    try:
        return cluster.kubectl("auth", "can-i", *request, f"--as={who}").strip() == "yes"
    except subprocess.CalledProcessError as error:
        if error.stdout.strip() != "no":
            raise
        return False


def test_rights(real_api: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> None:
    """The operator may look after BertJobs everywhere, and may neither read Secrets nor run anything in a pod."""
    namespace, elsewhere = make_namespace(real_api), make_namespace(real_api)
    with _installed(real_api, namespace) as who:
        listed = real_api.kubectl("auth", "can-i", "--list", f"--as={who}", f"--namespace={elsewhere}")

        assert "bertjobs.bertjob.dev" in listed
        assert "inferenceservices.serving.kserve.io" in listed
        assert "secrets" not in listed
        assert "*.*" not in listed
        assert _may(real_api, who, "create", "jobs.batch", f"--namespace={elsewhere}")
        assert not _may(real_api, who, "get", "secrets", f"--namespace={namespace}")
        assert not _may(real_api, who, "create", "pods", "--subresource=exec", f"--namespace={elsewhere}")
        assert not _may(real_api, who, "get", "leases.coordination.k8s.io/other", f"--namespace={namespace}")


def test_rights_in_one_namespace(real_api: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> None:
    """With ``watchNamespace`` the rights end at that namespace; nodes are still seen."""
    namespace, team, elsewhere = (make_namespace(real_api) for _ in range(3))
    with _installed(real_api, namespace, f"watchNamespace={team}") as who:
        assert _may(real_api, who, "create", "jobs.batch", f"--namespace={team}")
        assert not _may(real_api, who, "list", "pods", f"--namespace={elsewhere}")
        assert not _may(real_api, who, "list", "bertjobs.bertjob.dev", "--all-namespaces")
        assert _may(real_api, who, "list", "nodes")


def test_people(real_api: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> None:
    """The roles for people say who may change, scale and look at BertJobs."""
    namespace = make_namespace(real_api)
    with _installed(real_api, namespace):
        for person in ("editor", "viewer"):
            binding = ("rolebinding", person, f"--clusterrole=bertjob-{person}", f"--user={person}")
            real_api.kubectl("create", *binding, f"--namespace={namespace}")

        here = f"--namespace={namespace}"
        assert _may(real_api, "editor", "create", "bertjobs.bertjob.dev", here)
        assert _may(real_api, "editor", "patch", "bertjobs.bertjob.dev", "--subresource=scale", here)
        assert not _may(real_api, "editor", "patch", "bertjobs.bertjob.dev", "--subresource=status", here)
        assert _may(real_api, "viewer", "watch", "bertjobs.bertjob.dev", here)
        assert not _may(real_api, "viewer", "delete", "bertjobs.bertjob.dev", here)


def test_jobs_outlive_the_chart(real_api: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> None:
    """Uninstalling and installing again leaves every BertJob where it is."""
    namespace = make_namespace(real_api)
    job = a_job()
    job["metadata"]["namespace"] = namespace
    with _installed(real_api, namespace):
        real_api.kubectl("wait", CRD, "--for=condition=Established", "--timeout=30s")
        real_api.kubectl("apply", "--filename=-", stdin=json.dumps(job))
    with _installed(real_api, namespace):
        found = real_api.kubectl("get", "bertjobs", f"--namespace={namespace}", "--output=name")
        real_api.kubectl("delete", "bertjob", "sentiment", f"--namespace={namespace}")

    assert found == "bertjob.bertjob.dev/sentiment\n"


def test_pods_are_admitted_as_restricted(real_api: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> None:
    """A namespace that enforces the restricted Pod Security Standard admits the operator's and the predictor's pods."""
    namespace = make_namespace(real_api)
    real_api.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    manifests = rendered()
    runtime = only(manifests, "ClusterServingRuntime")["spec"]
    predictor = {"containers": runtime["containers"], "volumes": runtime["volumes"]}
    operator = only(manifests, "Deployment")["spec"]["template"]["spec"]
    admitted = []
    for name, spec in (("operator", operator), ("predictor", predictor)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
        admitted.append(
            real_api.kubectl("create", "--dry-run=server", "--filename=-", "--output=name", stdin=json.dumps(pod))
        )

    assert admitted == ["pod/operator\n", "pod/predictor\n"]
