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
from bertjob_api.status import HistoryEntry
from bertjob_operator.plan import clock, metadata, serving
from bertjob_operator.plan.children import History
from bertjob_operator.plan.effects import Decision, Fact, Replace
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules import rollback, service
from bertjob_operator.plan.rules.rule import Stage

LOOK: Final = timedelta(seconds=1)
"""How often the predictor is looked at: its pods are not ours, so nothing wakes us."""
MAX_CRASHES: Final = 3
"""Restarts of a new predictor pod after which waiting for the deadline is useless."""


def is_done(seen: Observed) -> bool:
    """Tell whether the service runs the artifact and nothing else, or no service is wanted."""
    if seen.job.spec.serving is None:
        return True
    record = service.record(seen)
    return (record is None or record.verdict != "Failed") and service.is_proven(seen)


def done(seen: Observed) -> tuple[Fact, ...]:
    """Return what a finished rollout establishes."""
    if seen.job.spec.serving is None:
        return (service.fact("NotRequested", "spec.serving is not set", status=None),)
    message = (
        f"{service.name(seen)} answers with {service.target(seen)}; "
        "it got all traffic at once: steps and golden set are not used yet"
    )
    return (service.fact("RolledOut", message, status=True),)


def superseded(seen: Observed) -> Decision | None:
    """Give way when somebody else has written the service since this job began its rollout."""
    other = seen.history.rollout if seen.history is not None else None
    if other is not None and other.uid != seen.job.uid and seen.job.status.rollout is not None:
        message = f"BertJob {other.job} rolls another model out to {service.name(seen)}"
        return rollback.refused(seen, "superseded", "Superseded", message)
    ours = service.record(seen)
    live = seen.inference.storage_uri if seen.inference is not None else None
    if ours is None or live is None or live in (ours.source, ours.target):
        return None
    message = f"{service.name(seen)} serves {live}, written by somebody else while {ours.target} was rolled out"
    return rollback.refused(seen, "superseded", "Superseded", message)


def source_foreign(seen: Observed) -> Decision | None:
    """Fail when the service does not get its model by ``storageUri``: that is the one field we write."""
    if seen.inference is None or seen.inference.storage_uri is not None:
        return None
    message = (
        f"{service.name(seen)} has no spec.predictor.model.storageUri; "
        "set one, or name another spec.serving.inferenceService"
    )
    return rollback.refused(seen, "source_foreign", "NoStorageUri", message)


def judged_failed(seen: Observed) -> Decision | None:
    """Finish a rollback that was begun."""
    record = service.record(seen)
    if record is None or record.verdict != "Failed":
        return None
    return rollback.undone(seen, record, "judged_failed", cause="the rollout had failed")


def pods_crashing(seen: Observed) -> Decision | None:
    """Undo the rollout when a pod with the new model crashes again and again."""
    record, uri = service.record(seen), service.target(seen)
    found = [pod for pod in seen.predictors if pod.source_uri == uri and pod.crashes >= MAX_CRASHES]
    if not found or record is None:
        return None
    cause = f"pods of {service.name(seen)} crash with {uri}{service.trouble(seen)}"
    return rollback.undone(seen, record, "pods_crashing", cause=cause)


def deadline_passed(seen: Observed) -> Decision | None:
    """Undo the rollout when the new pods are not ready in time; KServe itself would wait for 600 s."""
    record, limit = service.record(seen), service.settings(seen).progress_deadline
    if record is None or seen.now < record.started + clock.duration(limit):
        return None
    cause = f"the pods of {service.name(seen)} did not all serve {record.target} within {limit}{service.trouble(seen)}"
    return rollback.undone(seen, record, "deadline_passed", cause=cause)


def service_absent(seen: Observed) -> Decision | None:
    """Create the InferenceService."""
    if seen.inference is not None:
        return None
    spec = service.settings(seen)
    record = service.record(seen) or service.new_record(seen, source=None)
    account = serving.account(seen.job, spec)
    manifest = serving.inference_service(seen.job, spec, uri=service.target(seen))
    apply = (service.written(seen, record), *((account,) if account is not None else ()), manifest)
    return _going(seen, "service_absent", f"{service.name(seen)} is being created", apply=apply)


def target_unwritten(seen: Observed) -> Decision | None:
    """Write the new model into the service, after the record of the old one."""
    found, target = seen.inference, service.target(seen)
    if found is None or found.storage_uri == target:
        return None
    record = service.record(seen) or service.new_record(seen, source=found.storage_uri)
    write = Replace(
        ref=metadata.ref(seen.job, INFERENCE_SERVICE, found.name),
        path=serving.URI_PATH,
        old=found.storage_uri,
        new=target,
        uid=found.uid,
        resource_version=found.resource_version,
    )
    message = f"{service.name(seen)} goes from {found.storage_uri} to {target} at once; steps are not used yet"
    verdict = _going(seen, "target_unwritten", message, apply=(service.written(seen, record),))
    return replace(verdict, replace=(write,))


def rolling(seen: Observed) -> Decision:
    """Wait for the new pods."""
    record = service.record(seen) or service.new_record(seen, source=None)
    ready = sum(service.serves(pod, service.target(seen)) for pod in seen.predictors)
    wanted = seen.deployment.wanted if seen.deployment is not None else service.settings(seen).replicas.min
    message = f"{ready} of {wanted} pods of {service.name(seen)} serve the new model{service.trouble(seen)}"
    return _going(seen, "rolling", message, apply=(service.written(seen, record),))


def _going(seen: Observed, name: str, message: str, *, apply: tuple[Object, ...]) -> Decision:
    return Decision(
        name=name,
        phase="RollingOut",
        facts=(service.fact("RollingOut", message, status=None),),
        apply=apply,
        rollout=service.progress(seen),
        requeue_after=LOOK,
    )


def completed(seen: Observed, verdict: Decision) -> Decision:
    """Return *verdict* with the proven rollout recorded; unchanged without serving."""
    if seen.job.spec.serving is None:
        return verdict
    history = final_history(seen)
    return replace(
        verdict,
        apply=(*verdict.apply, serving.history_config(seen.job, service.name(seen), history)),
        rollout=service.progress(seen, verdict="Successful"),
        history=history.entries,
    )


def final_history(seen: Observed) -> History:
    """Return the history with the new model on top, once it is proven."""
    history = seen.history or History()
    record = service.record(seen) or service.new_record(seen, source=None)
    entry = HistoryEntry(uri=service.target(seen), job=seen.job.name, time=clock.stamp(seen.now))
    newest = history.entries[0] if history.entries else None
    known = newest is not None and (newest.uri, newest.job) == (entry.uri, entry.job)
    entries = history.entries if known else (entry, *history.entries)[: serving.MAX_ENTRIES]
    return History(entries=entries, rollout=replace(record, verdict="Successful"))


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
