"""
Rollout: the InferenceService serves the artifact, and every pod proves it.

Before the first write a record of what was served goes into the history ConfigMap, so that whoever goes on after a crash
knows what to go back to and since when the clock runs. The new model gets all traffic at once; rules for a candidate at 0 %
and for the steps between belong before ``target_unwritten``.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from bertjob_api.cluster import INFERENCE_SERVICE, Object
from bertjob_api.conditions import ROLLED_OUT
from bertjob_api.spec import Serving
from bertjob_api.status import HistoryEntry, LastFailure, Rollout
from bertjob_operator.plan import clock, metadata, results, serving, text
from bertjob_operator.plan.children import History, Pod, RolloutRecord
from bertjob_operator.plan.effects import Decision, Fact, Replace
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules.rule import Stage, failed

LOOK: Final = timedelta(seconds=1)
"""How often the predictor is looked at: its pods are not ours, so nothing wakes us."""
MAX_CRASHES: Final = 3
"""Restarts of a new predictor pod after which waiting for the deadline is useless."""


def is_done(seen: Observed) -> bool:
    """Tell whether the service runs the artifact and nothing else, or no service is wanted."""
    record = _record(seen)
    judged = record is not None and record.verdict == "Failed"
    return seen.job.spec.serving is None or (not judged and is_proven(seen))


def done(seen: Observed) -> tuple[Fact, ...]:
    """Return what a finished rollout establishes."""
    if seen.job.spec.serving is None:
        return (_fact("NotRequested", "spec.serving is not set", status=None),)
    message = (
        f"{_name(seen)} answers with {_target(seen)}; steps and golden set are not used yet: it got all traffic at once"
    )
    return (_fact("RolledOut", message, status=True),)


def is_proven(seen: Observed) -> bool:
    """
    Tell whether only ready pods with the new model are left.

    ``Ready`` of the InferenceService says nothing: it stays True while old pods serve.
    """
    deployment, target = seen.deployment, _target(seen)
    if seen.inference is None or seen.inference.storage_uri != target or deployment is None:
        return False
    counts = {deployment.wanted, deployment.replicas, deployment.updated, deployment.available}
    steady = deployment.current and deployment.source_uri == target and len(counts) == 1 and not deployment.terminating
    pods = seen.predictors
    return steady and len(pods) == deployment.wanted and all(_serves(pod, target) for pod in pods)


def _serves(pod: Pod, uri: str) -> bool:
    return pod.ready and pod.deletion is None and pod.source_uri == uri


def superseded(seen: Observed) -> Decision | None:
    """Give way when somebody else has written the service since this job began its rollout."""
    record = seen.history.rollout if seen.history is not None else None
    began = seen.job.status.rollout is not None
    if record is not None and record.uid != seen.job.uid and began:
        message = f"BertJob {record.job} rolls another model out to {_name(seen)}"
        return _failed(seen, "superseded", "Superseded", message)
    ours = _record(seen)
    live = seen.inference.storage_uri if seen.inference is not None else None
    if ours is None or live is None or live in (ours.source, ours.target):
        return None
    message = f"{_name(seen)} serves {live}, written by somebody else while {ours.target} was rolled out"
    return _failed(seen, "superseded", "Superseded", message)


def source_foreign(seen: Observed) -> Decision | None:
    """Fail when the service does not get its model by ``storageUri``: that is the one field we write."""
    if seen.inference is None or seen.inference.storage_uri is not None:
        return None
    message = f"{_name(seen)} has no spec.predictor.model.storageUri; set one, or name another serving.inferenceService"
    return _failed(seen, "source_foreign", "NoStorageUri", message)


def judged_failed(seen: Observed) -> Decision | None:
    """Finish a rollback that was begun."""
    record = _record(seen)
    return _undone(seen, record, "judged_failed") if record is not None and record.verdict == "Failed" else None


def pods_crashing(seen: Observed) -> Decision | None:
    """Undo the rollout when a pod with the new model crashes again and again."""
    record = _record(seen)
    found = [pod for pod in seen.predictors if pod.source_uri == _target(seen) and pod.crashes >= MAX_CRASHES]
    return _undone(seen, record, "pods_crashing") if found and record is not None else None


def deadline_passed(seen: Observed) -> Decision | None:
    """Undo the rollout when the new pods are not ready in time; KServe itself would wait for 600 s."""
    record = _record(seen)
    if record is None or _left(seen, record) > timedelta():
        return None
    return _undone(seen, record, "deadline_passed")


def service_absent(seen: Observed) -> Decision | None:
    """Create the InferenceService."""
    if seen.inference is not None:
        return None
    spec = _serving(seen)
    record = _record(seen) or _new_record(seen, source=None)
    account = serving.account(seen.job, spec)
    manifest = serving.inference_service(seen.job, spec, uri=_target(seen))
    apply = (_with(seen, record), *((account,) if account is not None else ()), manifest)
    return _going(seen, "service_absent", f"{_name(seen)} is being created", apply=apply)


def target_unwritten(seen: Observed) -> Decision | None:
    """Write the new model into the service, after the record of the old one."""
    inference, target = seen.inference, _target(seen)
    if inference is None or inference.storage_uri == target:
        return None
    record = _record(seen) or _new_record(seen, source=inference.storage_uri)
    write = Replace(
        ref=metadata.ref(seen.job, INFERENCE_SERVICE, inference.name),
        path=serving.URI_PATH,
        old=inference.storage_uri,
        new=target,
        uid=inference.uid,
        resource_version=inference.resource_version,
    )
    message = f"{_name(seen)} goes from {inference.storage_uri} to {target} at once; steps are not used yet"
    return _going(seen, "target_unwritten", message, apply=(_with(seen, record),), replace=(write,))


def rolling(seen: Observed) -> Decision:
    """Wait for the new pods."""
    record = _record(seen) or _new_record(seen, source=None)
    ready = sum(_serves(pod, _target(seen)) for pod in seen.predictors)
    wanted = seen.deployment.wanted if seen.deployment is not None else _serving(seen).replicas.min
    message = f"{ready} of {wanted} pods of {_name(seen)} serve the new model{_trouble(seen)}"
    return _going(seen, "rolling", message, apply=(_with(seen, record),))


def final_history(seen: Observed) -> History:
    """Return the history with the new model on top, once it is proven."""
    history = seen.history or History()
    record = _record(seen) or _new_record(seen, source=None)
    entry = HistoryEntry(uri=_target(seen), job=seen.job.name, time=clock.stamp(seen.now))
    newest = history.entries[0] if history.entries else None
    known = newest is not None and (newest.uri, newest.job) == (entry.uri, entry.job)
    entries = history.entries if known else (entry, *history.entries)[: serving.MAX_ENTRIES]
    return History(entries=entries, rollout=replace(record, verdict="Successful"))


def completed(seen: Observed, verdict: Decision) -> Decision:
    """Return *verdict* with the proven rollout recorded; unchanged without serving."""
    if seen.job.spec.serving is None:
        return verdict
    history = final_history(seen)
    return replace(
        verdict,
        apply=(*verdict.apply, serving.history_config(seen.job, _name(seen), history)),
        rollout=progress(seen, verdict="Successful"),
        history=history.entries,
    )


def progress(seen: Observed, *, verdict: str | None = None) -> Rollout | None:
    """Return the rollout for the status; None without serving."""
    spec = seen.job.spec.serving
    if spec is None:
        return None
    successful = verdict == "Successful"
    return Rollout(
        service=spec.inference_service,
        step=len(spec.steps) - 1 if successful else 0,
        traffic_percent=100 if successful else 0,
        verdict=verdict,  # type: ignore[arg-type]  # one of the words of Rollout
        url=seen.inference.url if seen.inference is not None else None,
    )


def _going(
    seen: Observed, name: str, message: str, *, apply: tuple[Object, ...], replace: tuple[Replace, ...] = ()
) -> Decision:
    return Decision(
        name=name,
        phase="RollingOut",
        facts=(_fact("RollingOut", message, status=None),),
        apply=apply,
        replace=replace,
        rollout=progress(seen),
        requeue_after=LOOK,
    )


def _undone(seen: Observed, record: RolloutRecord, name: str) -> Decision:
    """Return the way back: the verdict is recorded first, so that nobody writes the new model again."""
    limit = _serving(seen).progress_deadline
    cause = f"the pods of {_name(seen)} did not all serve {record.target} within {limit}{_trouble(seen)}"
    back = record.source is not None and record.source != record.target
    message = (
        f"{cause}; {record.source} is served again" if back else f"{cause}; there is no earlier model to go back to"
    )
    verdict = _failed(seen, name, "RolloutFailed", message)
    inference = seen.inference
    undo: tuple[Replace, ...] = ()
    if back and inference is not None and inference.storage_uri == record.target:
        undo = (
            Replace(
                ref=metadata.ref(seen.job, INFERENCE_SERVICE, inference.name),
                path=serving.URI_PATH,
                old=record.target,
                new=record.source,
                uid=inference.uid,
            ),
        )
    return replace(verdict, apply=(_with(seen, replace(record, verdict="Failed")),), replace=undo)


def _failed(seen: Observed, name: str, reason: str, message: str) -> Decision:
    bad = [pod for pod in seen.predictors if pod.trouble is not None or pod.last_words is not None]
    failure = LastFailure(
        phase="serving",
        pod=bad[0].name if bad else None,
        node=bad[0].node if bad else None,
        reason=text.reason((bad[0].trouble if bad else None) or reason),
        message=text.sentence((bad[0].last_words if bad else None) or message),
        time=clock.stamp(seen.now),
    )
    verdict = failed(
        name, reason=reason, message=message, facts=(_fact(reason, message, status=False),), failure=failure
    )
    return replace(verdict, rollout=progress(seen, verdict="Failed"))


def _trouble(seen: Observed) -> str:
    """Return what keeps the new pods from serving, as the end of a sentence; "" when nothing is known."""
    for pod in seen.predictors:
        if pod.source_uri == _target(seen) and (pod.trouble or pod.last_words):
            said = text.sentence(f"{pod.trouble or 'crashed'}: {pod.last_words or 'no message'}", size=300)
            return f" (pod {pod.name}: {said})"
    return ""


def _left(seen: Observed, record: RolloutRecord) -> timedelta:
    return record.started + clock.duration(_serving(seen).progress_deadline) - seen.now


def _record(seen: Observed) -> RolloutRecord | None:
    """Return this job's own record of this rollout, or None."""
    record = seen.history.rollout if seen.history is not None else None
    ours = record is not None and record.uid == seen.job.uid and record.target == _target(seen)
    return record if ours else None


def _new_record(seen: Observed, *, source: str | None) -> RolloutRecord:
    return RolloutRecord(
        job=seen.job.name, uid=seen.job.uid, source=source, target=_target(seen), started=seen.now, verdict=None
    )


def _with(seen: Observed, record: RolloutRecord) -> Object:
    entries = seen.history.entries if seen.history is not None else ()
    return serving.history_config(seen.job, _name(seen), History(entries=entries, rollout=record))


def _target(seen: Observed) -> str:
    artifact = results.served(seen)
    assert artifact is not None, "rollout comes after optimize"
    return artifact.uri


def _serving(seen: Observed) -> Serving:
    assert seen.job.spec.serving is not None, "rollout is only for jobs that serve"
    return seen.job.spec.serving


def _name(seen: Observed) -> str:
    return _serving(seen).inference_service


def _fact(reason: str, message: str, *, status: bool | None) -> Fact:
    return Fact(type=ROLLED_OUT, status=status, reason=reason, message=text.sentence(message))


STAGE = Stage(
    is_done=is_done,
    facts=done,
    rules=(
        superseded,  # never fight with somebody else
        source_foreign,
        judged_failed,
        pods_crashing,
        deadline_passed,
        service_absent,
        target_unwritten,
        rolling,
    ),
)
