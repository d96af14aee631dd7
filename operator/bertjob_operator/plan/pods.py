"""The pods of a BertJob: one way to build them, under the restricted Pod Security Standard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import Object
from bertjob_api.commands import Command
from bertjob_api.job import BertJob
from bertjob_operator.plan import metadata
from bertjob_operator.plan.platform import Platform

ANNOTATIONS: Final = {"sidecar.istio.io/inject": "false"}
"""A sidecar that never ends would keep a finished Job running; torch.distributed does not speak through a mesh either."""

_POD_SECURITY: Final = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

GIVE_UP_SECONDS: Final = 30
"""How long a pod stays bound to a node that went silent; Kubernetes' default of 300 s would stall training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What one of our pods runs."""

    component: str
    command: Command
    image: str | None = None
    """None: the operator's default."""
    resources: Mapping[str, Any] | None = None
    port: int | None = None
    with_spec: bool = True
    """Mount the resolved spec."""
    with_shared_memory: bool = False
    grace_seconds: int = 30
    """From SIGTERM to SIGKILL."""
    attempt: int | None = None


def template(job: BertJob, program: Program, *, platform: Platform, restart: str) -> Object:
    """Return a core/v1 PodTemplateSpec; *restart* is its restart policy."""
    labels = metadata.labels(job, component=program.component)
    if program.attempt is not None:
        labels[names.ATTEMPT_LABEL] = str(program.attempt)
    spec: Object = {
        "restartPolicy": restart,
        "serviceAccountName": job.spec.storage.service_account_name or names.worker_account_name(job.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": program.grace_seconds,
        "securityContext": dict(_POD_SECURITY),
        "tolerations": [_toleration("unreachable"), _toleration("not-ready")],
        "containers": [_container(program, platform)],
        "volumes": _volumes(job, program, platform),
    }
    if job.spec.priority_class_name is not None:
        spec["priorityClassName"] = job.spec.priority_class_name
    if job.spec.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in job.spec.image_pull_secrets]
    return {"metadata": {"labels": labels, "annotations": dict(ANNOTATIONS)}, "spec": spec}


def _toleration(state: str) -> Object:
    return {
        "key": f"node.kubernetes.io/{state}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": GIVE_UP_SECONDS,
    }


def _container(program: Program, platform: Platform) -> Object:
    container: Object = {
        "name": program.component,
        "image": program.image or platform.trainer_image,
        "imagePullPolicy": platform.image_pull_policy,
        "command": list(program.command.argv),
        "env": [dict(item) for item in program.command.env],
        "terminationMessagePath": names.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": dict(_CONTAINER_SECURITY),
        "volumeMounts": _mounts(program),
    }
    if program.resources is not None:
        container["resources"] = dict(program.resources)
    if program.port is not None:
        container["ports"] = [{"name": program.component, "containerPort": program.port, "protocol": "TCP"}]
    return container


def _mounts(program: Program) -> list[Object]:
    mounts: list[Object] = [{"name": "scratch", "mountPath": names.SCRATCH_DIR}]
    if program.with_spec:
        mounts.append({"name": "spec", "mountPath": names.SPEC_DIR, "readOnly": True})
    if program.with_shared_memory:
        mounts.append({"name": "shared-memory", "mountPath": names.SHARED_MEMORY_DIR})
    return mounts


def _volumes(job: BertJob, program: Program, platform: Platform) -> list[Object]:
    scratch = {"sizeLimit": platform.scratch} if platform.scratch is not None else {}
    volumes: list[Object] = [{"name": "scratch", "emptyDir": scratch}]
    if program.with_spec:
        volumes.append({"name": "spec", "configMap": {"name": names.spec_config_name(job.name)}})
    if program.with_shared_memory:
        memory = {"medium": "Memory", "sizeLimit": platform.shared_memory}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
    return volumes
