"""The children as the API server gets them."""

from dataclasses import replace
from typing import Any

import pytest
from support.fake_kubelet import SERVED
from support.observing import (
    ACCEPTED,
    OLD,
    SERVING,
    SERVING_READY,
    TRAINED,
    ago,
    bert_job,
    job,
    pod,
    seen,
    service,
    store,
)

from bertjob_api import names
from bertjob_operator.plan import metadata, overlay, plan
from bertjob_operator.plan.drift import stands


def _child(kind: str, name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return next(
        item for item in plan(seen(*args, **kwargs)).apply if (item["kind"], item["metadata"]["name"]) == (kind, name)
    )


def _train(spec: dict[str, Any] | None = None, **children: Any) -> dict[str, Any]:
    return _child("Job", "sentiment-train-0", ACCEPTED, spec, **{**store(), **children})


def _pod_specs() -> list[Any]:
    return [
        _child("Job", "sentiment-preflight")["spec"]["template"]["spec"],
        _child("Pod", "sentiment-store", ACCEPTED)["spec"],
        _train()["spec"]["template"]["spec"],
        _child("Job", "sentiment-optimize", TRAINED, {"optimize": {}})["spec"]["template"]["spec"],
    ]


@pytest.mark.parametrize("spec", _pod_specs())
def test_pods_meet_the_restricted_standard(spec: dict[str, Any]) -> None:
    """
    No pod runs as root, writes its image, gains privileges or holds an API token; each states its command.

    Source: Kubernetes documentation, "Pod Security Standards", restricted.
    """
    [container] = spec["containers"]

    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert container["command"][0] == "python"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {names.SCRATCH_DIR}


def test_training_job() -> None:
    """One attempt is one Indexed Job whose failures are sorted by cause, with labels on Job and pods."""
    found = _train({"training": {"replicas": 3}})
    spec = found["spec"]

    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (3, 3, "Indexed")
    assert (spec["podReplacementPolicy"], spec["suspend"]) == ("Failed", False)
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["Ignore", "FailJob", "Ignore"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert found["metadata"]["labels"][names.ATTEMPT_LABEL] == "0"
    assert spec["template"]["metadata"]["labels"][names.COMPONENT_LABEL] == names.TRAIN
    assert found["metadata"]["ownerReferences"][0]["controller"] is True


def test_living_job_keeps_its_template() -> None:
    """A newer operator with another default image does not touch the immutable template of a running Job."""
    old = {"completions": 1, "parallelism": 1, "template": {"spec": {"containers": [{"image": "old:1"}]}}}
    found = _train({"training": {"replicas": 2}}, training={0: job("sentiment-train-0", pod(), spec=old)})

    assert found["spec"] == {"completions": 2, "parallelism": 2, "template": old["template"], "suspend": False}
    assert found["metadata"]["uid"] == "uid-sentiment-train-0"


def test_lost_pods_are_remembered_on_the_job() -> None:
    """A pod that is given up is written on its Job in the same plan, because it vanishes."""
    lost = pod(uid="0123456789", node="node-x")
    what = seen(ACCEPTED, training={0: job("t", lost)}, silent_nodes={"node-x": None}, **store())
    found = plan(what)

    assert found.apply[-1]["metadata"]["annotations"] == {f"{names.GROUP}/disrupted": "01234567"}
    [removal] = found.delete
    assert (removal.uid, removal.grace_seconds) == ("0123456789", 0)
    assert removal.status_first is not None
    assert removal.status_first["phase"] == "Failed"
    assert found.status["training"]["disruptions"] == 1


def test_one_identity_serves_all() -> None:
    """A ServiceAccount in place of a Secret is that of every pod and of the predictor, and none is made for it."""
    spec = {"storage": {"serviceAccountName": "irsa"}, "optimize": {}, "serving": SERVING}
    rollout = plan(seen(SERVING_READY, spec))
    service = next(item for item in rollout.apply if item["kind"] == "InferenceService")
    pods = [
        _train({**spec}),
        _child("Job", "sentiment-optimize", TRAINED, spec),
        _child("Job", "sentiment-preflight", None, spec),
    ]

    assert {each["spec"]["template"]["spec"]["serviceAccountName"] for each in pods} == {"irsa"}
    assert service["spec"]["predictor"]["serviceAccountName"] == "irsa"
    assert [item["metadata"]["name"] for item in rollout.apply if item["kind"] == "ServiceAccount"] == [
        "sentiment-worker"
    ]
    assert "secretKeyRef" not in str(pods)


@pytest.mark.parametrize(
    ("spec", "labels", "annotations", "suspend"),
    [
        ({"queueName": "team"}, {names.QUEUE_LABEL: "team"}, None, None),
        (
            {"queueName": "team", "training": {"elastic": {"min": 1, "max": 2}}},
            {names.QUEUE_LABEL: "team"},
            {names.ELASTIC_QUEUE_ANNOTATION: "true"},
            None,
        ),
        ({"training": {"elastic": {"min": 1, "max": 2}}}, {}, None, False),
    ],
)
def test_queue(
    spec: dict[str, Any], labels: dict[str, str], annotations: dict[str, str] | None, suspend: bool | None
) -> None:
    """With a queue Kueue decides when the Job runs, so suspend is not stated; elastic jobs say so."""
    found = _train(spec)

    assert _kueues(found) == labels
    assert found["metadata"].get("annotations") == annotations
    assert found["spec"].get("suspend") is suspend


def _kueues(manifest: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in manifest["metadata"]["labels"].items() if key.startswith(names.KUEUE_DOMAIN)}


def test_kueues_labels_reach_jobs_alone() -> None:
    """A queue and a priority class that stand on the BertJob go to its Jobs; a store pod or a worker never queues itself."""
    given = {names.QUEUE_LABEL: "team", f"{names.KUEUE_DOMAIN}priority-class": "high", "team": "nlp"}
    found = seen(ACCEPTED, **store())
    manifests = plan(replace(found, job=replace(found.job, labels=given))).apply
    child = next(item for item in manifests if item["kind"] == "Job")

    assert _kueues(child) == {key: value for key, value in given.items() if key.startswith(names.KUEUE_DOMAIN)}
    assert _kueues(child["spec"]["template"]) == {}
    assert child["spec"]["template"]["metadata"]["labels"]["team"] == "nlp"
    assert [_kueues(item) for item in manifests if item["kind"] != "Job"] == [{}] * (len(manifests) - 1)


def test_store_keeps_the_address_that_workers_know() -> None:
    """When the Service was deleted, it comes back under the address in the pods' environment."""
    env = [{"name": names.RDZV_ENDPOINT_ENV, "value": f"10.0.0.99:{names.STORE_PORT}"}]
    running = job("t", pod(), spec={"template": {"spec": {"containers": [{"env": env}]}}})

    assert _child("Service", "sentiment-store", ACCEPTED, training={0: running})["spec"]["clusterIP"] == "10.0.0.99"


@pytest.mark.parametrize(("least", "most", "scaler"), [(2, 2, "none"), (1, 3, None)])
def test_new_service(least: int, most: int, scaler: str | None) -> None:
    """A new InferenceService is served by KServe's Standard mode, loses no pod in a roll, and has no owner."""
    spec = {"serving": {**SERVING, "replicas": {"min": least, "max": most}}, "storage": {"secretRef": {"name": "keys"}}}
    found = _child("InferenceService", "docs", SERVING_READY, spec)
    account = _child("ServiceAccount", "docs-bertjob", SERVING_READY, spec)
    predictor = found["spec"]["predictor"]

    assert found["metadata"]["annotations"].get(names.KSERVE_AUTOSCALER_ANNOTATION) == scaler
    assert found["metadata"]["annotations"][names.KSERVE_MODE_ANNOTATION] == "Standard"
    assert "ownerReferences" not in found["metadata"]
    assert predictor["deploymentStrategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert predictor["model"]["storageUri"] == SERVED.uri
    assert predictor["serviceAccountName"] == "docs-bertjob"
    assert account["secrets"] == [{"name": "keys"}]


def test_live_model_is_given_to_optimize() -> None:
    """The optimize step learns which model is live."""
    found = _child("Job", "sentiment-optimize", TRAINED, {"optimize": {}, "serving": SERVING}, inference=service())
    env = {item["name"]: item.get("value") for item in found["spec"]["template"]["spec"]["containers"][0]["env"]}

    assert env[names.LIVE_URI_ENV] == OLD


OVERLAYS = [
    ({"spec": {"hostNetwork": True}}, "spec.training.podTemplate.spec.hostNetwork: is set by the operator; remove it"),
    ({"kind": "Pod"}, "spec.training.podTemplate.kind: is not supported; use metadata and spec"),
    (
        {"metadata": {"name": "x"}},
        "spec.training.podTemplate.metadata.name: is set by the operator; only labels and annotations may be added",
    ),
    (
        {"metadata": {"labels": {names.JOB_LABEL: "x"}}},
        f"spec.training.podTemplate.metadata.labels.{names.JOB_LABEL}: is reserved for the operator; choose another key",
    ),
    (
        {"spec": {"containers": [{"name": "sidecar"}]}},
        (
            "spec.training.podTemplate.spec.containers[sidecar]: a second container would keep the pod running; "
            "add to train, or use initContainers"
        ),
    ),
    (
        {"spec": {"containers": [{"name": "train", "command": ["sh"]}]}},
        "spec.training.podTemplate.spec.containers[train].command: is set by the operator; remove it",
    ),
    (
        {"spec": {"containers": [{"name": "train", "env": [{"name": names.SPEC_FILE_ENV}]}]}},
        f"spec.training.podTemplate.spec.containers[train].env[{names.SPEC_FILE_ENV}]: is set by the operator; remove it",
    ),
    (
        {"spec": {"volumes": [{"name": "scratch"}]}},
        "spec.training.podTemplate.spec.volumes[scratch]: is set by the operator; remove it",
    ),
]


@pytest.mark.parametrize(("added", "message"), OVERLAYS)
def test_overlay_that_is_refused(added: dict[str, Any], message: str) -> None:
    """What the operator sets cannot be set by the user, and the message says where."""
    template = _train()["spec"]["template"]

    assert overlay.problems(added, template) == [message]


def test_overlay_is_merged() -> None:
    """Labels, node choice, tolerations, environment and volumes of the user stand beside ours."""
    added = {
        "metadata": {"labels": {"team": "nlp"}, "annotations": {"a": "b"}},
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "gpu"}],
            "volumes": [{"name": "cache", "emptyDir": {}}],
            "containers": [
                {
                    "name": "train",
                    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
                    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                }
            ],
        },
    }
    found = _train({"training": {"podTemplate": added}})["spec"]["template"]
    plain = _train()["spec"]["template"]

    assert found["metadata"]["labels"] == {**plain["metadata"]["labels"], "team": "nlp"}
    assert found["spec"]["nodeSelector"] == {"gpu": "yes"}
    assert found["spec"]["tolerations"] == [*plain["spec"]["tolerations"], {"key": "gpu"}]
    [container] = found["spec"]["containers"]
    assert container["env"][-1] == {"name": "NCCL_DEBUG", "value": "INFO"}
    assert container["command"] == plain["spec"]["containers"][0]["command"]
    assert stands(plain["spec"]["containers"][0]["securityContext"], container["securityContext"])


def test_users_labels_are_passed_on() -> None:
    """Labels of the BertJob reach its children; they never replace ours."""
    owned = replace(bert_job(), labels={"team": "nlp", names.JOB_LABEL: "evil"})
    labels = metadata.labels(owned)

    assert labels["team"] == "nlp"
    assert labels[names.JOB_LABEL] == "sentiment"


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {"b": 1}}, {"a": None}, False),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": [{"name": "x"}]}, {"a": [{"name": "y"}, {"name": "x", "z": 1}]}, True),
        ({"a": [{"name": "x"}]}, {"a": [{"name": "y"}]}, False),
        ({"a": []}, {}, False),
    ],
)
def test_what_stands(wanted: Any, found: Any, expected: bool) -> None:
    """An object stands when every wanted field is there; what others added does not matter."""
    assert stands(wanted, found) is expected


@pytest.mark.parametrize(
    ("silence", "deletion", "given_up"),
    [
        pytest.param(ago(29), None, False, id="silent for a moment"),
        pytest.param(ago(30), None, True, id="silent for the grace"),
        pytest.param(ago(5), ago(1), True, id="should have ended"),
        pytest.param(ago(5), ago(-1), False, id="is ending"),
        pytest.param(None, None, True, id="node is gone"),
    ],
)
def test_pod_on_a_silent_node(silence: Any, deletion: Any, given_up: bool) -> None:
    """A pod is given up when its node was silent for the grace, or when its own end is overdue."""
    there = pod("sentiment-preflight-0-abcde", node="node-x", deletion=deletion)
    found = plan(seen(preflight=job("sentiment-preflight", there), silent_nodes={"node-x": silence}))

    assert bool(found.delete) is given_up
    assert found.requeue_after is not None


def test_store_on_a_silent_node_is_made_anew() -> None:
    """The store's pod is forced out and comes back; its Service keeps its address."""
    there = {**store(), "store": pod("sentiment-store", node="node-x", index=None, deletion=ago(3))}
    found = plan(seen(ACCEPTED, silent_nodes={"node-x": ago(9)}, **there))

    [removal] = found.delete
    assert (str(removal.ref), removal.grace_seconds) == ("Pod default/sentiment-store", 0)
