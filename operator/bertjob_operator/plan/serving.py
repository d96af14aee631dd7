"""What a rollout writes: the InferenceService, its identity, and the history of its models."""

from dataclasses import asdict
from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import CONFIG_MAP, INFERENCE_SERVICE, SERVICE_ACCOUNT, Object
from bertjob_api.digest import canonical_json
from bertjob_api.job import BertJob
from bertjob_api.parse import dump
from bertjob_api.spec import Serving
from bertjob_operator.plan import metadata
from bertjob_operator.plan.children import History, RolloutRecord
from bertjob_operator.plan.clock import stamp
from bertjob_operator.plan.reading import HISTORY_KEY, ROLLOUT_KEY

URI_PATH: Final = "/spec/predictor/model/storageUri"
"""The one field that we write in an InferenceService that exists."""
MAX_ENTRIES: Final = 20


def account_name(job: BertJob, serving: Serving) -> str | None:
    """Return the ServiceAccount by which KServe reads the model; None: the namespace's default one."""
    storage = job.spec.storage
    if storage.service_account_name is not None:
        return storage.service_account_name
    return f"{serving.inference_service}-bertjob" if storage.secret_ref is not None else None


def account(job: BertJob, serving: Serving) -> Object | None:
    """Return the ServiceAccount that leads KServe to the storage Secret; None: there is no Secret, or the user has one."""
    storage = job.spec.storage
    if storage.secret_ref is None:
        return None
    name = account_name(job, serving)
    assert name is not None
    body = {"automountServiceAccountToken": False, "secrets": [{"name": storage.secret_ref.name}]}
    return _unowned(job, SERVICE_ACCOUNT, name, body)


def inference_service(job: BertJob, serving: Serving, *, uri: str) -> Object:
    """Return a new InferenceService that serves *uri*."""
    annotations = {names.KSERVE_MODE_ANNOTATION: "Standard"}
    if serving.replicas.min == serving.replicas.max:
        annotations[names.KSERVE_AUTOSCALER_ANNOTATION] = "none"
    predictor: Object = {
        "minReplicas": serving.replicas.min,
        "maxReplicas": serving.replicas.max,
        "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "model": {
            "modelFormat": {"name": names.MODEL_FORMAT},
            "runtime": serving.runtime,
            "storageUri": uri,
        },
    }
    identity = account_name(job, serving)
    if identity is not None:
        predictor["serviceAccountName"] = identity
    manifest = _unowned(job, INFERENCE_SERVICE, serving.inference_service, {"spec": {"predictor": predictor}})
    manifest["metadata"]["annotations"] = annotations
    return manifest


def history_config(job: BertJob, service: str, history: History) -> Object:
    """Return the ConfigMap with the models of *service*; it outlives every job."""
    data = {
        HISTORY_KEY: _text([dump(entry) for entry in history.entries]),
        ROLLOUT_KEY: _text(_record(history.rollout)),
    }
    return _unowned(job, CONFIG_MAP, names.history_name(service), {"data": data})


def _record(record: RolloutRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    failure = dump(record.failure) if record.failure is not None else None
    return {**asdict(record), "started": stamp(record.started), "failure": failure}


def _text(value: object) -> str:
    return canonical_json(value).decode("ascii")


def _unowned(job: BertJob, kind: Any, name: str, body: Object) -> Object:
    """Return a manifest without owner: serving outlives the training object."""
    labels = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.PART_OF_LABEL: metadata.PART_OF}
    head = {"name": name, "namespace": job.namespace, "labels": labels}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": head, **body}
