"""What holds for every plan: it always exists, depends on nothing but what is seen, and writes nothing twice."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fake_kubelet import EVALUATION, MODEL, SERVED
from support.observing import ACCEPTED, NOW, OLD, SERVING, bert_job, failure, job, seen, store

from bertjob_api.conditions import FAILED, SUCCEEDED, TYPES
from bertjob_api.parse import dump, parse
from bertjob_api.progress import Progress
from bertjob_api.status import JobStatus
from bertjob_api.termination import Result
from bertjob_operator.plan import Observed, Plan, plan
from bertjob_operator.plan.children import (
    Deployment,
    Ended,
    History,
    InferenceService,
    Job,
    Pod,
    Pods,
    RolloutRecord,
    Service,
)

RESULTS = (
    None,
    Result(),
    Result(artifact=MODEL, steps=10),
    Result(artifact=SERVED, evaluation=EVALUATION),
    failure("GateFailed", "too slow"),
    failure("42 odd words!", "x" * 3000),
)
URIS = st.sampled_from([OLD, SERVED.uri, MODEL.uri])
moments = st.integers(-7200, 60).map(lambda seconds: NOW + timedelta(seconds=seconds))
maybe_moments = st.none() | moments
names = st.sampled_from(["a", "b", "c", "d"])


def _pods(**given_fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Pod]:
    usual: dict[str, st.SearchStrategy[Any]] = {
        "name": names,
        "uid": names,
        "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
        "ready": st.booleans(),
        "scheduled": st.booleans(),
        "node": st.none() | st.sampled_from(["node-a", "node-b"]),
        "index": st.none() | st.integers(0, 3),
        "deletion": maybe_moments,
        "disrupted": st.booleans(),
        "trouble": st.sampled_from([None, "CrashLoopBackOff"]),
        "crashes": st.integers(0, 5),
        "ended": st.none() | ends,
        "last_words": st.sampled_from([None, "boom\nboom"]),
        "source_uri": st.none() | URIS,
        "reason": st.sampled_from([None, "Evicted"]),
    }
    return st.builds(Pod, **{**usual, **given_fields})


ends = st.builds(
    Ended,
    exit_code=st.sampled_from([0, 1, 42, 75, 137, 143]),
    reason=st.sampled_from(["Error", "Completed", "OOMKilled"]),
    message=st.sampled_from(["", "boom", "{}"]),
    result=st.sampled_from(RESULTS),
    time=maybe_moments,
)
jobs = st.builds(
    Job,
    name=names,
    uid=names,
    created=maybe_moments,
    completions=st.integers(1, 4),
    suspended=st.booleans(),
    complete=st.booleans(),
    failed=st.booleans(),
    failed_reason=st.sampled_from([None, "PodFailurePolicy", "BackoffLimitExceeded"]),
    failed_message=st.sampled_from([None, "x"]),
    finished=maybe_moments,
    settling=st.booleans(),
    lingering=st.booleans(),
    spec=st.just({"completions": 2, "parallelism": 2, "template": {"spec": {"containers": []}}}),
    disrupted=st.sampled_from([frozenset(), frozenset({"uid-1"})]),
    pods=st.lists(_pods(), max_size=3).map(Pods),
)


def _named(name: str) -> st.SearchStrategy[Job]:
    return jobs.map(lambda job: replace(job, name=name))


records = st.builds(
    RolloutRecord,
    job=names,
    uid=st.sampled_from([bert_job().uid, "another"]),
    source=st.none() | URIS,
    target=URIS,
    started=moments,
    verdict=st.sampled_from([None, "Failed", "Successful"]),
    message=st.just("it failed"),
)
deployments = st.builds(
    Deployment,
    source_uri=st.none() | URIS,
    current=st.booleans(),
    **{key: st.integers(0, 3) for key in ("wanted", "replicas", "updated", "available", "terminating")},
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "optimize": st.just({}),
        "serving": st.just(SERVING),
        "suspend": st.booleans(),
        "training": st.sampled_from(
            [{"replicas": 0}, {"replicas": 2}, {"replicas": 2, "elastic": {"min": 1, "max": 3}}]
        ),
        "activeDeadlineSeconds": st.just(600),
        "preRunningDeadlineSeconds": st.just(600),
        "ttlSecondsAfterFinished": st.just(60),
        "cleanPodPolicy": st.sampled_from(["None", "Running", "All"]),
        "queueName": st.just("team"),
        "storage": st.just({"secretRef": {"name": "s"}}),
    },
)
conditions = st.lists(st.sampled_from(TYPES), unique=True).flatmap(
    lambda kinds: st.tuples(
        *(
            st.fixed_dictionaries(
                {
                    "type": st.just(kind),
                    "status": st.sampled_from(["True", "False", "Unknown"]),
                    "lastTransitionTime": st.just("2026-05-04T11:00:00Z"),
                    "observedGeneration": st.just(3),
                    "reason": st.just("Before"),
                    "message": st.just("before"),
                }
            )
            for kind in kinds
        )
    ).map(list)
)
artifacts = st.sampled_from(
    [{}, {"model": dump(MODEL)}, {"model": dump(MODEL), "optimized": dump(SERVED)}],
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "conditions": conditions,
        "attempt": st.integers(0, 2),
        "artifacts": artifacts,
        "training": st.just({"step": 5, "total": 10}),
        "startTime": st.just("2026-05-04T10:00:00Z"),
        "completionTime": st.just("2026-05-04T11:00:00Z"),
        "rollout": st.just({"service": "docs"}),
    },
)


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    """Return any observation, sensible or not."""
    status = draw(statuses)
    return Observed(
        job=bert_job(status, **draw(specs)),
        now=NOW,
        stored=status,
        strangers=draw(st.sampled_from([(), (), (), ("Pod default/x",)])),
        preflight=draw(st.none() | _named("sentiment-preflight")),
        training={attempt: draw(_named(f"sentiment-train-{attempt}")) for attempt in draw(st.sets(st.integers(0, 2)))},
        optimize=draw(st.none() | _named("sentiment-optimize")),
        store=draw(st.none() | _pods(name=st.just("sentiment-store"))),
        store_service=draw(
            st.none() | st.builds(Service, name=names, uid=names, cluster_ip=st.sampled_from([None, "10.0.0.7"]))
        ),
        inference=draw(
            st.none()
            | st.builds(
                InferenceService,
                name=st.just("docs"),
                uid=names,
                resource_version=st.just("1"),
                storage_uri=st.none() | URIS,
                url=st.none(),
            )
        ),
        deployment=draw(st.none() | deployments),
        predictors=draw(st.lists(_pods(), max_size=3).map(tuple)),
        history=draw(st.none() | st.builds(History, entries=st.just(()), rollout=st.none() | records)),
        progress=draw(
            st.dictionaries(names, st.builds(Progress, rank=st.none() | st.integers(0, 3), restarts=st.integers(0, 3)))
        ),
        silent_nodes=draw(st.dictionaries(st.just("node-a"), maybe_moments)),
    )


def _after(what: Observed, found: Plan) -> dict[str, Any]:
    """Return the status with the plan's patch on it."""
    return _merged(dict(what.stored), found.status)


def _merged(target: dict[str, Any], changes: Any) -> dict[str, Any]:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            target[key] = _merged(dict(target.get(key) or {}), value)
        else:
            target[key] = value
    return target


def _kinds(found: Plan) -> list[str]:
    return [f"{item['kind']}/{item['metadata']['name']}" for item in found.apply]


@settings(max_examples=150, deadline=None)
@given(observations())
def test_every_observation_has_a_plan(what: Observed) -> None:
    """Planning never raises; the status it leaves is valid, and no child is named twice."""
    found = plan(what)
    status = parse(JobStatus, _after(what, found), path="status")

    assert len(status.conditions) in (len(TYPES), len(what.job.status.conditions))
    assert len(set(_kinds(found))) == len(found.apply)
    assert found.requeue_after is None or found.requeue_after > timedelta() or found.rule == "finished"


@settings(max_examples=60, deadline=None)
@given(observations())
@example(seen(ACCEPTED, **store()))
@example(seen(ACCEPTED, training={1: job("sentiment-train-1", failed=True)}, **store()))
def test_status_settles_at_once(what: Observed) -> None:
    """
    The same observation with the new status stored asks for the same children and no further status.

    A cache that does not show yet what the first plan made looks like this. Only a job that went a stage on may differ.
    """
    first = plan(what)
    stored = _after(what, first)
    again = replace(what, stored=stored, job=replace(what.job, status=parse(JobStatus, stored, path="status")))
    second = plan(again)

    if first.rule == second.rule:
        assert dict(second.status) == {}
        assert second.events == ()
        assert _kinds(second) == _kinds(first)


@settings(max_examples=60, deadline=None)
@given(observations(), st.randoms(use_true_random=False))
def test_order_of_children_does_not_matter(what: Observed, chance: Any) -> None:
    """Training Jobs in another order of attempts give the same plan."""
    attempts = list(what.training.items())
    chance.shuffle(attempts)
    shuffled = replace(what, training=dict(attempts), progress=dict(reversed(what.progress.items())))

    assert plan(shuffled) == plan(what)


@settings(max_examples=60, deadline=None)
@given(observations())
def test_verdict_is_final(what: Observed) -> None:
    """A job with a verdict starts nothing: whatever is applied is a Job that is suspended."""
    held = {item.type for item in what.job.status.conditions if item.status == "True"}
    if not held & {SUCCEEDED, FAILED}:
        return
    found = plan(what)

    assert [item["spec"]["suspend"] for item in found.apply] == [True] * len(found.apply)
    assert found.replace == ()
    assert set(found.status) <= {"observedGeneration"} | {item.name for item in fields(JobStatus)}
    assert "conditions" not in found.status


@settings(max_examples=60, deadline=None)
@given(observations())
def test_no_result_is_deleted_before_it_is_stored(what: Observed) -> None:
    """A Job that brought a result is deleted only when the status holds a verdict, or its result is lost anyway."""
    found = plan(what)
    deleted = {removal.uid for removal in found.delete if removal.ref.kind.kind == "Job"}

    assert found.rule in ("finished", "result_lost") or not deleted
