"""The batch/v1 Jobs of a BertJob."""

from typing import Final

from bertjob_api import commands, names
from bertjob_api.cluster import JOB, Object
from bertjob_api.job import BertJob
from bertjob_api.termination import EVICTED, USER_ERROR
from bertjob_operator.plan import attempts, children, metadata, nodes, overlay, pods, quota
from bertjob_operator.plan.observed import Observed

RETRIES: Final = 3
"""Failed pods that preflight and optimize survive."""
TRAIN_GRACE_SECONDS: Final = 60
"""From SIGTERM to SIGKILL in training: the step under way, the checkpoint and its upload."""

_FAILURE_POLICY: Final = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [USER_ERROR]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [EVICTED]}},
    ]
}
"""What the infrastructure ends costs no retry; a mistake of the user is not tried again."""

_KEPT: Final = (
    "backoffLimit",
    "completionMode",
    "completions",
    "parallelism",
    "podFailurePolicy",
    "podReplacementPolicy",
    "template",
)
"""Fields we apply. Those of a living Job are sent back as they are: a newer operator must not fail on an older Job."""


def preflight(seen: Observed) -> Object:
    """Return the Job that checks storage, data and model."""
    program = pods.Program(
        component=names.PREFLIGHT, command=commands.preflight(seen.job), image=seen.job.spec.training.image
    )
    return _job(seen, names.preflight_name(seen.job.name), program, seen.preflight)


def train_template(seen: Observed, *, attempt: int, store_host: str) -> Object:
    """Return the pod template of training before the user's overlay."""
    training = seen.job.spec.training
    program = pods.Program(
        component=names.TRAIN,
        command=commands.train(seen.job, attempt=attempt, store_host=store_host),
        image=training.image,
        resources=training.resources,
        port=names.PROGRESS_PORT,
        with_shared_memory=True,
        grace_seconds=TRAIN_GRACE_SECONDS,
        attempt=attempt,
    )
    return pods.template(seen.job, program, platform=seen.platform, restart="Never")


def train(seen: Observed, *, attempt: int, store_host: str) -> Object:
    """Return the Indexed Job of one training attempt, with as many pods as the spec wants now."""
    job, existing = seen.job, seen.training.get(attempt)
    count = job.spec.training.replicas
    name = names.train_name(job.name, attempt)
    if existing is not None:
        manifest = _updated(job, existing, component=names.TRAIN, attempt=attempt, count=count)
        return _annotated(manifest, metadata.DISRUPTED_ANNOTATION, attempts.disrupted(existing, seen))
    avoided = nodes.bad(seen)
    template = overlay.merged(
        train_template(seen, attempt=attempt, store_host=store_host), job.spec.training.pod_template
    )
    template = nodes.avoiding(template, avoided)
    # The operator judges failures in its own sliding window; this limit only holds while no operator runs.
    limit = job.spec.backoff.limit + 4 * count
    spec = quota.with_suspend(job, _spec(template, count=count, limit=limit), None)
    manifest = _marked(metadata.child(job, JOB, name, component=names.TRAIN, spec=spec), job, None, attempt=attempt)
    return _annotated(manifest, metadata.AVOIDED_ANNOTATION, avoided)


def suspended(job: BertJob, existing: children.Job, *, component: str, attempt: int | None = None) -> Object:
    """Return *existing* without running pods; finished pods stay for their logs."""
    manifest = _updated(job, existing, component=component, attempt=attempt, count=None)
    return {**manifest, "spec": {**manifest["spec"], "suspend": True}}


def optimize(seen: Observed, *, model_uri: str, model_sha256: str, live_uri: str | None) -> Object:
    """Return the Job that builds, measures, judges and publishes what is served."""
    job = seen.job
    settings = job.spec.optimize
    program = pods.Program(
        component=names.OPTIMIZE,
        command=commands.optimize(job, model_uri=model_uri, model_sha256=model_sha256, live_uri=live_uri),
        image=(settings.image if settings else None) or job.spec.training.image,
        resources=settings.resources if settings else None,
        port=names.PROGRESS_PORT,
        with_shared_memory=True,
    )
    return _job(seen, names.optimize_name(job.name), program, seen.optimize)


def _job(seen: Observed, name: str, program: pods.Program, existing: children.Job | None) -> Object:
    job = seen.job
    if existing is not None:
        return _updated(job, existing, component=program.component, attempt=None, count=None)
    template = pods.template(job, program, platform=seen.platform, restart="Never")
    spec = quota.with_suspend(job, _spec(template, count=1, limit=RETRIES), None)
    return _marked(metadata.child(job, JOB, name, component=program.component, spec=spec), job, None, attempt=None)


def _spec(template: Object, *, count: int, limit: int) -> Object:
    return {
        "completions": count,
        "parallelism": count,
        "completionMode": "Indexed",
        "backoffLimit": limit,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": _FAILURE_POLICY,
        "template": template,
    }


def _updated(job: BertJob, existing: children.Job, *, component: str, attempt: int | None, count: int | None) -> Object:
    """Return *existing* with *count* pods (None: as many as now); completions and parallelism only move together."""
    spec: Object = {key: existing.spec[key] for key in _KEPT if key in existing.spec}
    if count is not None and not existing.over:
        spec |= {"completions": count, "parallelism": count}
    spec = quota.with_suspend(job, spec, existing)
    manifest = metadata.child(job, JOB, existing.name, component=component, spec=spec)
    manifest["metadata"]["uid"] = existing.uid
    if names.QUEUE_LABEL in existing.labels:
        # Kueue writes suspend and template too: what we send back must be what stands.
        manifest["metadata"]["resourceVersion"] = existing.version
    marked = _marked(manifest, job, existing, attempt=attempt)
    kept = _annotated(marked, metadata.AVOIDED_ANNOTATION, nodes.avoided(existing))
    return _annotated(kept, metadata.DISRUPTED_ANNOTATION, existing.disrupted)


def _annotated(manifest: Object, key: str, words: frozenset[str]) -> Object:
    """Return *manifest* with an annotation of *words*, if there are any."""
    if not words:
        return manifest
    found = manifest["metadata"].get("annotations") or {}
    annotations = {**found, key: " ".join(sorted(words))}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def _marked(manifest: Object, job: BertJob, existing: children.Job | None, *, attempt: int | None) -> Object:
    """Return *manifest* with what tells of its attempt (None: it is no training Job) and its queue."""
    head = manifest["metadata"]
    labels = {**head["labels"], **quota.labels(job, existing)}
    if attempt is None:
        return {**manifest, "metadata": {**head, "labels": labels}}
    labels[names.ATTEMPT_LABEL] = str(attempt)
    annotations = quota.annotations(job, existing)
    return {
        **manifest,
        "metadata": {**head, "labels": labels, **({"annotations": annotations} if annotations else {})},
    }
