"""What the rollout's rules share: target, record, and the proof that a model is served."""

from dataclasses import replace

from bertjob_api.cluster import Object
from bertjob_api.conditions import ROLLED_OUT
from bertjob_api.spec import Serving
from bertjob_api.status import Rollout
from bertjob_operator.plan import results, serving, text
from bertjob_operator.plan.children import History, Pod, RolloutRecord
from bertjob_operator.plan.effects import Fact
from bertjob_operator.plan.observed import Observed


def settings(seen: Observed) -> Serving:
    """Return ``spec.serving`` of a job that has one."""
    assert seen.job.spec.serving is not None, "rollout is only for jobs that serve"
    return seen.job.spec.serving


def name(seen: Observed) -> str:
    """Return the name of the InferenceService."""
    return settings(seen).inference_service


def target(seen: Observed) -> str:
    """Return the URI of the artifact that is to be served."""
    artifact = results.served(seen)
    assert artifact is not None, "rollout comes after optimize"
    return artifact.uri


def record(seen: Observed) -> RolloutRecord | None:
    """Return this job's own record of this rollout, or None."""
    found = seen.history.rollout if seen.history is not None else None
    return found if found is not None and found.uid == seen.job.uid and found.target == target(seen) else None


def new_record(seen: Observed, *, source: str | None) -> RolloutRecord:
    """Return the record of a rollout that begins now; *source*: model that is served, None: the service is new."""
    return RolloutRecord(
        job=seen.job.name, uid=seen.job.uid, source=source, target=target(seen), started=seen.now, verdict=None
    )


def written(seen: Observed, found: RolloutRecord) -> Object:
    """Return the history ConfigMap with *found* as the rollout under way."""
    entries = seen.history.entries if seen.history is not None else ()
    return serving.history_config(seen.job, name(seen), History(entries=entries, rollout=found))


def is_proven(seen: Observed) -> bool:
    """
    Tell whether only ready pods with the new model are left.

    ``Ready`` of the InferenceService says nothing: it stays True while old pods serve.
    """
    deployment, uri = seen.deployment, target(seen)
    if seen.inference is None or seen.inference.storage_uri != uri or deployment is None:
        return False
    counts = {deployment.wanted, deployment.replicas, deployment.updated, deployment.available}
    steady = deployment.current and deployment.source_uri == uri and len(counts) == 1 and not deployment.terminating
    pods = seen.predictors
    return steady and len(pods) == deployment.wanted and all(serves(pod, uri) for pod in pods)


def serves(pod: Pod, uri: str) -> bool:
    """Tell whether *pod* answers with the model *uri*."""
    return pod.ready and pod.deletion is None and pod.source_uri == uri


def trouble(seen: Observed) -> str:
    """Return what keeps the new pods from serving, as the end of a sentence; "" when nothing is known."""
    for pod in seen.predictors:
        if pod.source_uri == target(seen) and (pod.trouble or pod.last_words):
            said = text.sentence(f"{pod.trouble or 'crashed'}: {pod.last_words or 'no message'}", size=300)
            return f" (pod {pod.name}: {said})"
    return ""


def progress(seen: Observed, *, verdict: str | None = None) -> Rollout | None:
    """Return the rollout for the status; None without serving."""
    spec = seen.job.spec.serving
    if spec is None:
        return None
    begun = Rollout(
        service=spec.inference_service,
        verdict=verdict,  # type: ignore[arg-type]  # one of the words of Rollout
        url=seen.inference.url if seen.inference is not None else None,
    )
    return replace(begun, step=len(spec.steps) - 1, traffic_percent=100) if verdict == "Successful" else begun


def fact(reason: str, message: str, *, status: bool | None) -> Fact:
    """Return the condition RolledOut."""
    return Fact(type=ROLLED_OUT, status=status, reason=reason, message=text.sentence(message))
