"""Builders of what the operator sees."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from support.fake_kubelet import MODEL, SERVED
from support.jobs import a_job

from bertjob_api import termination
from bertjob_api.job import BertJob, parse_job
from bertjob_api.parse import dump
from bertjob_api.termination import Failure, Result
from bertjob_operator.plan import Observed, Plan, plan
from bertjob_operator.plan.children import Deployment, Ended, InferenceService, Job, Pod, Pods, Service

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
STORE_IP = "10.0.0.7"
OLD = "s3://bucket/old"


def ago(seconds: float) -> datetime:
    """Return a time before NOW."""
    return NOW - timedelta(seconds=seconds)


def bert_job(status: Mapping[str, Any] | None = None, **spec: Any) -> BertJob:
    """Return a parsed BertJob; *status* in Kubernetes spelling."""
    job = a_job(**spec)
    job["metadata"] |= {"uid": UID, "generation": 3}
    return parse_job({**job, "status": dict(status or {})})


def seen(status: Mapping[str, Any] | None = None, spec: Mapping[str, Any] | None = None, **children: Any) -> Observed:
    """Return what was observed at NOW."""
    return Observed(job=bert_job(status, **(spec or {})), now=NOW, stored=dict(status or {}), **children)


def true(*kinds: str, since: datetime = NOW) -> list[dict[str, Any]]:
    """Return conditions that are True."""
    return [conditions_of(kind, "True", since=since) for kind in kinds]


def conditions_of(kind: str, status: str, *, since: datetime = NOW) -> dict[str, Any]:
    """Return one condition."""
    at = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": status, "lastTransitionTime": at, "reason": "Before", "message": "before"}


ACCEPTED = {"conditions": true("Accepted"), "startTime": "2026-05-04T11:00:00Z"}
TRAINED = {**ACCEPTED, "artifacts": {"model": dump(MODEL)}, "training": {"step": 120, "total": 120}}
SERVING_READY = {**TRAINED, "artifacts": {"model": dump(MODEL), "optimized": dump(SERVED)}}
SERVING = {"inferenceService": "docs", "replicas": {"min": 2, "max": 2}}


def pod(name: str = "sentiment-train-0-0-abcde", **fields: Any) -> Pod:
    """Return a running pod, unless *fields* say otherwise."""
    usual = {"uid": f"uid-{name}", "phase": "Running", "ready": True, "scheduled": True, "node": "node-a", "index": 0}
    return Pod(**{"name": name, **usual, **fields})


def ended(
    code: int = 0, *, result: Result | None = None, message: str = "", seconds_ago: float = 1, **fields: Any
) -> Pod:
    """Return a pod that has ended."""
    text = termination.encode(result) if result is not None else message
    reason = "Completed" if code == 0 else "Error"
    end = Ended(exit_code=code, reason=reason, message=text, result=result, time=ago(seconds_ago))
    return pod(phase="Succeeded" if code == 0 else "Failed", ready=False, ended=end, **fields)


def failure(reason: str, message: str) -> Result:
    """Return the result of a program that explains its failure."""
    return Result(failure=Failure(reason=reason, message=message))


def job(name: str = "sentiment-train-0", *pods: Pod, **fields: Any) -> Job:
    """Return a running Job, unless *fields* say otherwise."""
    usual: dict[str, Any] = {
        "uid": f"uid-{name}",
        "created": ago(60),
        "completions": 1,
        "suspended": False,
        "complete": False,
        "failed": False,
        "failed_reason": None,
        "failed_message": None,
        "finished": None,
        "spec": {"completions": 1, "parallelism": 1, "completionMode": "Indexed", "template": {"spec": {}}},
    }
    return Job(**{"name": name, **usual, "pods": Pods(pods), **fields})


def store() -> dict[str, Any]:
    """Return a store that is up."""
    return {
        "store": pod("sentiment-store", index=None),
        "store_service": Service(name="sentiment-store", uid="uid-service", cluster_ip=STORE_IP),
    }


def service(uri: str | None = OLD) -> InferenceService:
    """Return the InferenceService."""
    return InferenceService(name="docs", uid="uid-docs", resource_version="7", storage_uri=uri, url="http://docs")


def deployment(uri: str, **fields: Any) -> Deployment:
    """Return a steady Deployment of two pods, unless *fields* say otherwise."""
    usual = {"current": True, "wanted": 2, "replicas": 2, "updated": 2, "available": 2, "terminating": 0}
    return Deployment(source_uri=uri, **{**usual, **fields})


def predictors(uri: str, count: int = 2, **fields: Any) -> tuple[Pod, ...]:
    """Return predictor pods."""
    return tuple(pod(f"docs-predictor-{n}", index=None, source_uri=uri, **fields) for n in range(count))


def fact(found: Plan, kind: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition after *found*."""
    condition = next(item for item in found.status["conditions"] if item["type"] == kind)
    return condition["status"], condition["reason"], condition["message"]


def applied(found: Plan) -> list[str]:
    """Return kind and name of everything that is applied."""
    return [f"{item['kind']} {item['metadata']['name']}" for item in found.apply]


__all__ = ["Result", "plan"]
