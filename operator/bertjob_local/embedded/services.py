"""
An InferenceService as KServe's Standard mode presents it: one Deployment, one Service, pods with a downloader. Pure.

Source: KServe documentation, "Standard mode", and the objects that its controller makes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bertjob_api import commands, names
from bertjob_api.cluster import Object
from bertjob_api.digest import sha256_of
from bertjob_local import addresses
from bertjob_local.embedded import pods

HASH = "pod-template-hash"
_VOLUME = "kserve-provision-location"


def deployment_of(isvc: Object, runtime: Object | None) -> Object:
    """
    Return the Deployment of an InferenceService.

    Args:
        isvc: the InferenceService.
        runtime: its serving runtime; None: our own predictor's command.

    """
    predictor, name = isvc["spec"]["predictor"], isvc["metadata"]["name"]
    model = predictor["model"]
    annotations = {
        **(isvc["metadata"].get("annotations") or {}),
        **(predictor.get("annotations") or {}),
        names.KSERVE_SOURCE_ANNOTATION: model["storageUri"],
    }
    labels = {
        **(isvc["metadata"].get("labels") or {}),
        **(predictor.get("labels") or {}),
        **_selector(name),
        "serving.kserve.io/inferenceservice": name,
        "component": "predictor",
    }
    account = {key: predictor[key] for key in ("serviceAccountName", "nodeSelector") if key in predictor}
    spec = {**account, "containers": [_container(name, model, runtime)], "volumes": [{"name": _VOLUME, "emptyDir": {}}]}
    return {
        **_child(isvc, "apps/v1", "Deployment"),
        "spec": {
            "replicas": predictor.get("minReplicas", 1),
            "selector": {"matchLabels": _selector(name)},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec},
        },
    }


def service_of(isvc: Object) -> Object:
    """Return the Service of an InferenceService: port 80 to the predictor's."""
    port = {"name": "http1", "port": 80, "targetPort": names.PREDICTOR_PORT, "protocol": "TCP"}
    spec = {"selector": _selector(isvc["metadata"]["name"]), "ports": [port], "type": "ClusterIP"}
    return {**_child(isvc, "v1", "Service"), "spec": spec}


def pod_of(deployment: Object, *, suffix: str, credentials: Sequence[Object]) -> Object:
    """Return a new pod, with the downloader that KServe's webhook puts in front of the containers of each pod."""
    template = deployment["spec"]["template"]
    digest = template_hash(deployment)
    name = f"{deployment['metadata']['name']}-{digest}-{suffix}"
    pod = pods.from_template(deployment, template, name=name, labels={HASH: digest})
    uri = pod["metadata"]["annotations"][names.KSERVE_SOURCE_ANNOTATION]
    fetch = commands.fetch()
    pod["spec"]["initContainers"] = [
        {
            "name": "storage-initializer",
            "image": "bertjob",
            "command": list(fetch.argv),
            "args": [uri, names.MODEL_DIR],
            "env": [*fetch.env, *credentials],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{"name": _VOLUME, "mountPath": names.MODEL_DIR}],
        }
    ]
    return pod


def template_hash(deployment: Object) -> str:
    """Return the name of the Deployment's template; another template has another one."""
    return sha256_of(deployment["spec"]["template"])[:10]


def credentials_of(account: Object | None, secrets: Mapping[str, Object]) -> list[Object]:
    """
    Return the downloader's S3 settings as EnvVars: keys by reference, endpoint and region from the Secret's annotations.

    Args:
        account: the pod's ServiceAccount; None: no settings.
        secrets: Secrets of its namespace by name.

    """
    mentioned = [each["name"] for each in (account or {}).get("secrets", ())]
    secret = next(
        (secrets[name] for name in mentioned if "AWS_ACCESS_KEY_ID" in secrets.get(name, {}).get("data", {})), None
    )
    if secret is None:
        return []
    name = secret["metadata"]["name"]
    keys = [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
    given = secret["metadata"].get("annotations") or {}
    plain = []
    if endpoint := given.get("serving.kserve.io/s3-endpoint"):
        scheme = "http" if given.get("serving.kserve.io/s3-usehttps") == "0" else "https"
        plain.append(commands.literal("AWS_ENDPOINT_URL", f"{scheme}://{endpoint}"))
    if region := given.get("serving.kserve.io/s3-region"):
        plain.append(commands.literal("AWS_DEFAULT_REGION", region))
    return [*keys, *plain]


def _selector(name: str) -> dict[str, str]:
    return {"app": names.predictor_app(name)}


def _child(isvc: Object, api_version: str, kind: str) -> Object:
    owner = pods.from_template(isvc, {"spec": {}}, name=names.predictor_name(isvc["metadata"]["name"]), labels={})
    return {"apiVersion": api_version, "kind": kind, "metadata": owner["metadata"]}


def _container(name: str, model: Mapping[str, Any], runtime: Object | None) -> Object:
    container = _own_container() if runtime is None else dict(runtime["spec"]["containers"][0])
    container = json.loads(json.dumps(container).replace("{{.Name}}", name))
    for key in ("args", "env"):
        if model.get(key):
            container[key] = [*container.get(key, ()), *model[key]]
    if model.get("resources"):
        container["resources"] = model["resources"]
    ready = {"httpGet": {"path": f"/v2/models/{name}/ready", "port": names.PREDICTOR_PORT}, "periodSeconds": 1}
    mount = {"name": _VOLUME, "mountPath": names.MODEL_DIR, "readOnly": True}
    mounts = [*container.get("volumeMounts", ()), mount]
    return {"readinessProbe": ready, **container, "name": "kserve-container", "volumeMounts": mounts}


def _own_container() -> Object:
    command = commands.predictor()
    return {"image": "bertjob", "command": list(command.argv), "env": [dict(each) for each in command.env]}


def status_of(isvc: Object, *, deployment: Object, service: Object, now: str) -> Object:
    """
    Return the status of an InferenceService.

    As with KServe, ``observedGeneration`` is the Deployment's, and Ready says only that some pod answers.
    """
    wanted, found = deployment["spec"]["replicas"], deployment.get("status", {})
    available = found.get("availableReplicas", 0) >= wanted
    updated = found.get("updatedReplicas") == found.get("replicas") == wanted
    reason = ("NewReplicaSetAvailable" if updated else "MinimumReplicasAvailable") if available else ""
    fields = {"reason": reason or "MinimumReplicasUnavailable", "message": "", "now": now}
    conditions: list[Object] = []
    for kind in ("IngressReady", "PredictorReady", "Ready"):
        state = "True" if available or kind == "IngressReady" else "False"
        why = {**fields, "reason": ""} if kind == "IngressReady" else fields
        conditions.append(pods.with_condition(isvc, kind, state, **why)[-1])
    url = f"http://{addresses.authority(service['spec']['clusterIP'], port=80)}"
    return {
        **isvc.get("status", {}),
        "observedGeneration": found.get("observedGeneration", 0),
        "conditions": conditions,
        "url": url,
        "address": {"url": url},
        "deploymentMode": "Standard",
    }
