"""Each rule as a table: what is seen, which rule decides, and the exact words of the condition."""

from typing import Any

import pytest
from support.fake_kubelet import MODEL, SERVED
from support.observing import (
    ACCEPTED,
    OLD,
    SERVING,
    SERVING_READY,
    TRAINED,
    ago,
    applied,
    conditions_of,
    deployment,
    ended,
    fact,
    failure,
    job,
    pod,
    predictors,
    seen,
    service,
    store,
    true,
)

from bertjob_api.termination import Result
from bertjob_operator.plan import Observed, plan
from bertjob_operator.plan.children import History, RolloutRecord

BASE = ["ServiceAccount sentiment-worker", "ConfigMap sentiment-spec"]
STORE = ["Service sentiment-store", "Pod sentiment-store"]
TWO = {"training": {"replicas": 2}}
GOOD_TRAINING = Result(artifact=MODEL, steps=120)


def record(**fields: Any) -> History:
    """Return a history with a rollout of ours under way."""
    usual = {"job": "sentiment", "uid": seen().job.uid, "source": OLD, "target": SERVED.uri, "started": ago(30)}
    return History(rollout=RolloutRecord(**{**usual, "verdict": None, **fields}))


def case(name: str, what: Observed, rule: str, condition: tuple[str, str, str, str]) -> Any:
    """Return one row: observation, deciding rule, and type, status, reason, message of a condition."""
    return pytest.param(what, rule, condition, id=name)


ROWS = [
    case(
        "new job",
        seen(),
        "preflight_running",
        ("Accepted", "Unknown", "PreflightRunning", "storage, data and model are being tried"),
    ),
    case(
        "preflight tries again",
        seen(preflight=job("p", ended(75, result=failure("Unreachable", "s3://bucket: timed out")))),
        "preflight_running",
        ("Accepted", "Unknown", "PreflightRunning", "trying again after: s3://bucket: timed out"),
    ),
    case(
        "preflight refuses",
        seen(preflight=job("p", ended(42, result=failure("NoSuchBucket", "s3://bucket does not exist")))),
        "input_refused",
        ("Accepted", "False", "NoSuchBucket", "s3://bucket does not exist"),
    ),
    case(
        "preflight gave up without words",
        seen(preflight=job("p", ended(1, message="Traceback\n  boom"), failed=True, settling=True)),
        "preflight_gave_up",
        ("Accepted", "False", "Error", "Traceback boom"),
    ),
    case(
        "preflight gave up, pods not seen yet",
        seen(preflight=job("p", failed=True, settling=True)),
        "preflight_gave_up",
        ("Accepted", "Unknown", "PreflightRunning", "preflight has failed; its pods are being looked at"),
    ),
    case(
        "preflight gave up, pods gone",
        seen(preflight=job("p", failed=True, failed_reason="DeadlineExceeded", failed_message="late")),
        "preflight_gave_up",
        ("Failed", "True", "DeadlineExceeded", "late"),
    ),
    case(
        "store comes first",
        seen(ACCEPTED),
        "store_unaddressed",
        ("Trained", "False", "TrainingRunning", "0 of 1 nodes are training"),
    ),
    case(
        "one of two pods runs",
        seen(
            ACCEPTED, TWO, training={0: job("t", pod(), pod("b", index=1, phase="Pending", scheduled=False))}, **store()
        ),
        "training_running",
        ("Scheduled", "False", "PodsPending", "1 of 2 training pods have a node"),
    ),
    case(
        "never ran yet",
        seen(ACCEPTED, TWO, training={0: job("t", pod())}, **store()),
        "training_running",
        ("Training", "Unknown", "PodsStarting", "1 of 2 nodes are training"),
    ),
    case(
        "elastic minimum is enough",
        seen(
            ACCEPTED,
            {"training": {"replicas": 2, "elastic": {"min": 1, "max": 4}}},
            training={0: job("t", pod())},
            **store(),
        ),
        "training_running",
        ("Training", "True", "PodsRunning", "1 of 2 nodes are training"),
    ),
    case(
        "lost a node",
        seen({**ACCEPTED, "conditions": true("Accepted", "Training")}, TWO, training={0: job("t", pod())}, **store()),
        "training_running",
        ("Stalled", "True", "BelowMinNodes", "1 of 2 nodes are training, at least 2 are needed"),
    ),
    case(
        "training refuses",
        seen(
            ACCEPTED, training={0: job("t", ended(42, result=failure("BadLabel", "label 'x' is unknown")))}, **store()
        ),
        "user_error",
        ("Trained", "False", "BadLabel", "label 'x' is unknown"),
    ),
    case(
        "failed by policy, pod gone",
        seen(
            ACCEPTED,
            training={0: job("t", failed=True, failed_reason="PodFailurePolicy", failed_message="exit 42")},
            **store(),
        ),
        "user_error",
        ("Failed", "True", "PodFailurePolicy", "exit 42"),
    ),
    case(
        "budget spent",
        seen(
            ACCEPTED,
            {"backoff": {"limit": 1, "window": "10m"}},
            training={0: job("t", ended(1, message="a", seconds_ago=5), ended(1, message="b", name="b"))},
            **store(),
        ),
        "budget_spent",
        (
            "Failed",
            "True",
            "BackoffLimitExceeded",
            "2 failures within 10m, 1 are tolerated (spec.backoff); the newest: b",
        ),
    ),
    case(
        "an end whose pods are not seen yet is no failure",
        seen(
            {**ACCEPTED, "training": {}},
            {"backoff": {"limit": 0, "window": "10m"}},
            training={0: job("sentiment-train-0", complete=True, settling=True)},
            **store(),
        ),
        "end_settling",
        ("Failed", "Unknown", "NotReached", "the job has not come so far"),
    ),
    case(
        "old failures are forgiven",
        seen(
            ACCEPTED,
            {"backoff": {"limit": 1, "window": "10m"}},
            training={0: job("t", ended(1, seconds_ago=700), ended(1, name="b", seconds_ago=5))},
            **store(),
        ),
        "training_running",
        ("Trained", "False", "TrainingRunning", "0 of 1 nodes are training"),
    ),
    case(
        "complete, pods not seen yet",
        seen(ACCEPTED, training={0: job("t", complete=True, settling=True)}, **store()),
        "end_settling",
        ("Trained", "False", "TrainingRunning", "0 of 1 nodes are training"),
    ),
    case(
        "complete, result lost",
        seen(ACCEPTED, training={0: job("t", complete=True)}, **store()),
        "attempt_over",
        ("Trained", "False", "TrainingRunning", "0 of 1 nodes are training"),
    ),
    case(
        "trained",
        seen(
            ACCEPTED,
            {"optimize": {}},
            training={0: job("t", ended(result=GOOD_TRAINING), complete=True, settling=True)},
        ),
        "optimizing",
        ("Trained", "True", "TrainingCompleted", f"the model is at {MODEL.uri}"),
    ),
    case(
        "train only",
        seen(TRAINED),
        "succeeded",
        ("Succeeded", "True", "Completed", "every requested stage is done"),
    ),
    case(
        "gate refuses",
        seen(TRAINED, {"optimize": {}}, optimize=job("o", ended(42, result=failure("GateFailed", "too slow")))),
        "refused",
        ("GatePassed", "False", "GateFailed", "too slow"),
    ),
    case(
        "optimize gave up",
        seen(TRAINED, {"optimize": {}}, optimize=job("o", ended(137), failed=True, settling=True)),
        "gave_up",
        ("Optimized", "False", "Error", "exit code 137"),
    ),
    case(
        "optimize result lost",
        seen(TRAINED, {"optimize": {}}, optimize=job("o", complete=True)),
        "result_lost",
        ("Optimized", "Unknown", "OptimizeRunning", "candidates are being built and measured"),
    ),
    case(
        "convert only",
        seen(SERVING_READY, {"serving": SERVING}),
        "service_absent",
        ("GatePassed", "Unknown", "NotRequested", "spec.optimize is not set; the FP32 model is served"),
    ),
    case(
        "service absent",
        seen(SERVING_READY, {"serving": SERVING}),
        "service_absent",
        ("RolledOut", "Unknown", "RollingOut", "docs is being created"),
    ),
    case(
        "service serves the old model",
        seen(SERVING_READY, {"serving": SERVING}, inference=service()),
        "target_unwritten",
        (
            "RolledOut",
            "Unknown",
            "RollingOut",
            f"docs goes from {OLD} to {SERVED.uri} at once; steps are not used yet",
        ),
    ),
    case(
        "one new pod is ready",
        seen(
            SERVING_READY,
            {"serving": SERVING},
            inference=service(SERVED.uri),
            history=record(),
            deployment=deployment(SERVED.uri, updated=1),
            predictors=(*predictors(SERVED.uri, 1), *predictors(OLD, 1)),
        ),
        "rolling",
        ("RolledOut", "Unknown", "RollingOut", "1 of 2 pods of docs serve the new model"),
    ),
    case(
        "new pod cannot pull",
        seen(
            SERVING_READY,
            {"serving": SERVING},
            inference=service(SERVED.uri),
            history=record(),
            predictors=predictors(SERVED.uri, 1, ready=False, trouble="ImagePullBackOff"),
        ),
        "rolling",
        (
            "RolledOut",
            "Unknown",
            "RollingOut",
            "0 of 2 pods of docs serve the new model (pod docs-predictor-0: ImagePullBackOff: no message)",
        ),
    ),
    case(
        "new pods crash",
        seen(
            SERVING_READY,
            {"serving": SERVING},
            inference=service(SERVED.uri),
            history=record(),
            predictors=predictors(SERVED.uri, 1, ready=False, trouble="CrashLoopBackOff", crashes=3, last_words="bad"),
        ),
        "pods_crashing",
        (
            "RolledOut",
            "False",
            "RolloutFailed",
            f"pods of docs crash with {SERVED.uri} (pod docs-predictor-0: CrashLoopBackOff: bad); {OLD} is served again",
        ),
    ),
    case(
        "deadline of a new service",
        seen(
            SERVING_READY,
            {"serving": {**SERVING, "progressDeadline": "20s"}},
            inference=service(SERVED.uri),
            history=record(source=None),
        ),
        "deadline_passed",
        (
            "Failed",
            "True",
            "RolloutFailed",
            f"the pods of docs did not all serve {SERVED.uri} within 20s; there is no earlier model to go back to",
        ),
    ),
    case(
        "rollback goes on after a crash",
        seen(
            SERVING_READY,
            {"serving": SERVING},
            inference=service(),
            history=record(verdict="Failed", message="it crashed"),
        ),
        "judged_failed",
        ("RolledOut", "False", "RolloutFailed", "it crashed"),
    ),
    case(
        "somebody else wrote",
        seen(SERVING_READY, {"serving": SERVING}, inference=service("s3://bucket/third"), history=record()),
        "superseded",
        (
            "Failed",
            "True",
            "Superseded",
            f"docs serves s3://bucket/third, written by somebody else while {SERVED.uri} was rolled out",
        ),
    ),
    case(
        "a newer job rolls out",
        seen(
            {**SERVING_READY, "rollout": {"service": "docs"}},
            {"serving": SERVING},
            inference=service(),
            history=record(uid="another", job="newer"),
        ),
        "superseded",
        ("Failed", "True", "Superseded", "BertJob newer rolls another model out to docs"),
    ),
    case(
        "service without storageUri",
        seen(SERVING_READY, {"serving": SERVING}, inference=service(None)),
        "source_foreign",
        (
            "Failed",
            "True",
            "NoStorageUri",
            "docs has no spec.predictor.model.storageUri; set one, or name another spec.serving.inferenceService",
        ),
    ),
    case(
        "proven",
        seen(
            SERVING_READY,
            {"serving": SERVING},
            inference=service(SERVED.uri),
            history=record(),
            deployment=deployment(SERVED.uri),
            predictors=predictors(SERVED.uri),
        ),
        "succeeded",
        (
            "RolledOut",
            "True",
            "RolledOut",
            f"docs answers with {SERVED.uri}; it got all traffic at once: steps and golden set are not used yet",
        ),
    ),
    case(
        "suspended",
        seen(ACCEPTED, {"suspend": True}, training={0: job("t", pod())}, **store()),
        "suspended",
        ("Suspended", "True", "SuspendRequested", "spec.suspend is set"),
    ),
    case(
        "active for too long",
        seen(ACCEPTED, {"activeDeadlineSeconds": 60}, **store()),
        "deadline_exceeded",
        ("Failed", "True", "DeadlineExceeded", "the job was active for more than 60 s (spec.activeDeadlineSeconds)"),
    ),
    case(
        "never ran in time",
        seen(ACCEPTED, {"preRunningDeadlineSeconds": 50}, training={0: job("t")}, **store()),
        "never_running",
        (
            "Failed",
            "True",
            "PreRunningDeadlineExceeded",
            "0 of 1 nodes are training after 50 s (spec.preRunningDeadlineSeconds)",
        ),
    ),
    case(
        "names taken",
        seen(strangers=("ConfigMap default/sentiment-spec",)),
        "strangers_standing",
        (
            "Accepted",
            "Unknown",
            "NamesTaken",
            "ConfigMap default/sentiment-spec belong to another owner; they must go before this job can begin",
        ),
    ),
]


@pytest.mark.parametrize(("what", "rule", "condition"), ROWS)
def test_rule(what: Observed, rule: str, condition: tuple[str, str, str, str]) -> None:
    """The named rule decides, and the condition says exactly this."""
    found = plan(what)

    assert found.rule == rule
    assert fact(found, condition[0]) == condition[1:]


PROOFS = [
    pytest.param({"deployment": deployment(SERVED.uri, current=False)}, id="generation not seen"),
    pytest.param({"deployment": deployment(OLD)}, id="template has the old model"),
    pytest.param({"deployment": deployment(SERVED.uri, replicas=3)}, id="an old pod is left"),
    pytest.param({"deployment": deployment(SERVED.uri, updated=1)}, id="not all updated"),
    pytest.param({"deployment": deployment(SERVED.uri, available=1)}, id="not all available"),
    pytest.param({"deployment": deployment(SERVED.uri, terminating=1)}, id="one is terminating"),
    pytest.param({"deployment": None}, id="no deployment"),
    pytest.param({"predictors": predictors(SERVED.uri, 1)}, id="a pod is missing"),
    pytest.param({"predictors": predictors(SERVED.uri, ready=False)}, id="pods are not ready"),
    pytest.param({"predictors": predictors(OLD)}, id="pods have the old model"),
    pytest.param({"predictors": predictors(SERVED.uri, deletion=ago(0))}, id="pods are being deleted"),
    pytest.param({"inference": service()}, id="the service has the old model"),
]


@pytest.mark.parametrize("change", PROOFS)
def test_rollout_needs_every_proof(change: dict[str, Any]) -> None:
    """One doubt is enough to keep a rollout from being called done."""
    proof = {
        "inference": service(SERVED.uri),
        "history": record(),
        "deployment": deployment(SERVED.uri),
        "predictors": predictors(SERVED.uri),
    }

    assert plan(seen(SERVING_READY, {"serving": SERVING}, **proof)).rule == "succeeded"
    assert plan(seen(SERVING_READY, {"serving": SERVING}, **{**proof, **change})).rule != "succeeded"


def test_base_and_store_come_before_training() -> None:
    """Workers are created only when the store has an address."""
    assert applied(plan(seen(ACCEPTED))) == [*BASE, *STORE]
    assert applied(plan(seen(ACCEPTED, **store()))) == [*BASE, STORE[0], "Job sentiment-train-0"]


def test_old_record_comes_before_the_new_model() -> None:
    """What was served is recorded in the same plan that writes the new model, and the old value is tested."""
    found = plan(seen(SERVING_READY, {"serving": SERVING}, inference=service()))

    [write] = found.replace
    assert (write.old, write.new, write.uid, write.resource_version) == (OLD, SERVED.uri, "uid-docs", "7")
    assert f'"source":"{OLD}"' in found.apply[-1]["data"]["rollout.json"]


def test_finished_job_only_loses_what_runs() -> None:
    """After a verdict the store goes and unfinished Jobs are suspended; the status stays."""
    status = {**TRAINED, "conditions": true("Accepted", "Failed"), "observedGeneration": 3}
    found = plan(seen(status, training={0: job("t", pod())}, **store()))

    assert found.rule == "finished"
    assert [item["spec"]["suspend"] for item in found.apply] == [True]
    assert [str(removal.ref) for removal in found.delete] == [
        "Pod default/sentiment-store",
        "Service default/sentiment-store",
    ]


def test_resumed_job_has_its_whole_time_again() -> None:
    """ActiveDeadlineSeconds counts from the last resumption, as in batch/v1."""
    resumed = {**ACCEPTED, "conditions": [*true("Accepted"), conditions_of("Suspended", "False", since=ago(10))]}

    assert plan(seen(resumed, {"activeDeadlineSeconds": 60}, **store())).rule == "training_running"
