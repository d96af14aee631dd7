"""What a spec says of its pods reaches them on a real API server, with the real Job controller."""

import json
from dataclasses import replace

import pytest
from support.fake_kubelet import End, FakeKubelet
from support.jobs import a_job
from support.operating import SETTINGS, condition, found, together, until

from bertjob_api import names
from bertjob_api.cluster import POD, Object
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.http import connect
from bertjob_operator.shell.operator import run

pytestmark = pytest.mark.cluster

PRIORITY = "bertjob-test-urgent"
GPU = {"limits": {"nvidia.com/gpu": 2, "memory": "8Gi"}}

OVERLAY: Object = {
    "metadata": {"labels": {"team": "search"}, "annotations": {"example.com/why": "nightly"}},
    "spec": {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
        "containers": [
            {
                "name": names.TRAIN,
                "env": [{"name": "NCCL_DEBUG", "value": "WARN"}],
                "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
            }
        ],
    },
}


async def test_spec_reaches_the_pods(real_controllers: LocalCluster, namespace: str) -> None:
    """Identity, priority, pull Secrets, GPUs, shared memory and overlay stand in the pods that they are for; no Secret is needed."""
    job = a_job(
        training={"replicas": 2, "resources": GPU, "podTemplate": OVERLAY},
        storage={"serviceAccountName": "reader"},
        priorityClassName=PRIORITY,
        imagePullSecrets=["registry"],
        optimize={"resources": {"requests": {"cpu": "2"}}},
    )
    job["metadata"]["namespace"] = namespace
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": PRIORITY}}
    real_controllers.kubectl("apply", "--filename=-", stdin=json.dumps({**priority, "value": 7}))
    script = {names.TRAIN: [End(holds=True)] * 2, names.OPTIMIZE: [End(holds=True)]}
    async with connect(real_controllers.layout.kubeconfig) as cluster:
        kubelet = FakeKubelet(cluster, script=script, namespace=namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": namespace}}
        await cluster.apply(account, manager="user")
        async with together(kubelet.run(), run(cluster, replace(SETTINGS, namespace=namespace))):
            await cluster.apply(job, manager="user")
            await until(cluster, job, "Training")
            pods = await cluster.list(POD, namespace=namespace)
            await kubelet.release(names.TRAIN)
            pods.append(await found(cluster, POD, lambda each: _component(each, namespace) == names.OPTIMIZE))
            await kubelet.release(names.OPTIMIZE)
            ended = await until(cluster, job, "Succeeded", "Failed")

    assert {_component(each, namespace) for each in pods} == {"preflight", "store", "train", "optimize"}
    assert condition(ended, "Succeeded")["status"] == "True", ended["status"]
    for pod in pods:
        spec = pod["spec"]
        assert (spec["serviceAccountName"], spec["priority"], spec["imagePullSecrets"]) == (
            "reader",
            7,
            [{"name": "registry"}],
        )
        assert "secretKeyRef" not in json.dumps(spec)
        is_train = _component(pod, namespace) == names.TRAIN
        assert ("disk" in spec.get("nodeSelector", {}), "team" in pod["metadata"]["labels"]) == (is_train, is_train)
    train = next(each["spec"] for each in pods if _component(each, namespace) == names.TRAIN)
    memory = next(each["emptyDir"] for each in train["volumes"] if each["name"] == "shared-memory")
    assert train["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2", "memory": "8Gi"}
    assert {"name": "NCCL_DEBUG", "value": "WARN"} in train["containers"][0]["env"]
    assert {"name": "cache", "mountPath": "/cache"} in train["containers"][0]["volumeMounts"]
    assert "gpu" in {each.get("key") for each in train["tolerations"]}
    assert memory == {"medium": "Memory", "sizeLimit": "2Gi"}


def _component(pod: Object, namespace: str) -> str | None:
    if pod["metadata"]["namespace"] != namespace:
        return None
    found: str | None = pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL)
    return found
