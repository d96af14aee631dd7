"""The way back: the verdict on a rollout is recorded before the old model is written again."""

from dataclasses import replace

from bertjob_api.cluster import INFERENCE_SERVICE
from bertjob_api.status import LastFailure
from bertjob_operator.plan import clock, metadata, serving, text
from bertjob_operator.plan.children import RolloutRecord
from bertjob_operator.plan.effects import Decision, Replace
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.rules import service
from bertjob_operator.plan.rules.rule import failed


def undone(seen: Observed, record: RolloutRecord, rule: str, *, cause: str) -> Decision:
    """
    Return the verdict that the rollout has failed, with what leads back to the model before.

    Args:
        seen: what was observed.
        record: of this rollout.
        rule: name of the rule that decided.
        cause: what is wrong; a record that is judged already keeps its own.

    """
    judged = record if record.verdict == "Failed" else _judged(seen, record, cause)
    assert judged.message is not None, "a judged record says why"
    verdict = refused(seen, rule, "RolloutFailed", judged.message)
    undo = _undo(seen, judged)
    return replace(verdict, apply=(service.written(seen, judged),), replace=undo, failure=judged.failure)


def refused(seen: Observed, rule: str, reason: str, message: str) -> Decision:
    """Return the verdict that the rollout has failed, touching nothing."""
    fact = service.fact(reason, message, status=False)
    verdict = failed(rule, reason=reason, message=message, facts=(fact,), failure=_failure(seen, reason, message))
    return replace(verdict, rollout=service.progress(seen, verdict="Failed"))


def _judged(seen: Observed, record: RolloutRecord, cause: str) -> RolloutRecord:
    after = f"{record.source} is served again" if _leads_back(record) else "there is no earlier model to go back to"
    message = text.sentence(f"{cause}; {after}")
    return replace(record, verdict="Failed", message=message, failure=_failure(seen, "RolloutFailed", message))


def _leads_back(record: RolloutRecord) -> bool:
    return record.source is not None and record.source != record.target


def _undo(seen: Observed, record: RolloutRecord) -> tuple[Replace, ...]:
    found = seen.inference
    if not _leads_back(record) or found is None or found.storage_uri != record.target:
        return ()
    ref = metadata.ref(seen.job, INFERENCE_SERVICE, found.name)
    return (Replace(ref=ref, path=serving.URI_PATH, old=record.target, new=record.source, uid=found.uid),)


def _failure(seen: Observed, reason: str, message: str) -> LastFailure:
    bad = next((pod for pod in seen.predictors if pod.trouble is not None or pod.last_words is not None), None)
    return LastFailure(
        phase="serving",
        pod=bad.name if bad is not None else None,
        node=bad.node if bad is not None else None,
        reason=text.reason((bad.trouble if bad is not None else None) or reason),
        message=text.sentence((bad.last_words if bad is not None else None) or message),
        time=clock.stamp(seen.now),
    )
