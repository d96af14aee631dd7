"""A job whose Jobs wait in a queue of Kueue's."""

from typing import Any

import pytest
from support.observing import ACCEPTED, NOW, ago, applied, conditions_of, fact, job, pod, seen, store

from bertjob_api import names
from bertjob_api.cluster import WORKLOAD
from bertjob_operator.plan import Plan, plan, reading
from bertjob_operator.plan.children import Job, Workload
from bertjob_operator.shell.operator import workload_key

QUEUED = {names.QUEUE_LABEL: "team"}
NO_ROOM = "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor default, 1 more needed"
PREEMPTED = "Preempted to accommodate a workload due to prioritization in the ClusterQueue"


def _workload(**fields: Any) -> Workload:
    usual = {"active": True, "admitted": False, "evicted": False, "evictions": 0, "message": NO_ROOM}
    return Workload(**{"name": "job-sentiment", "uid": "uid-w", **usual, **fields})


def _queued(*pods: Any, **fields: Any) -> Job:
    return job("sentiment-train-0", *pods, **{"suspended": True, "labels": QUEUED, "version": "9", **fields})


def _plan(child: Job, status: dict[str, Any] | None = None, **spec: Any) -> Plan:
    status = {**ACCEPTED, "training": {"step": 5, "total": 10}, **(status or {})}
    return plan(seen(status, {"queueName": "team", **spec}, training={0: child}, **store()))


def test_waiting_says_what_for() -> None:
    """Without quota nothing is forced: Kueue's own words stand in the condition, and the store's pod makes room."""
    found = _plan(_queued(workloads=(_workload(),)))

    assert fact(found, "Scheduled") == ("False", "WaitingForQuota", f"waiting for quota in LocalQueue team: {NO_ROOM}")
    assert fact(found, "Stalled")[:2] == ("False", "WaitingForQuota")
    assert found.status["phase"] == "Queued"
    assert [each.ref.name for each in found.delete] == ["sentiment-store"]
    assert "Pod sentiment-store" not in applied(found)
    [child] = [item for item in found.apply if item["kind"] == "Job"]
    assert child["spec"]["suspend"] is True
    assert child["metadata"]["resourceVersion"] == "9"


def test_admitted_job_is_left_running() -> None:
    """What Kueue has set in ``suspend`` is what we state."""
    found = _plan(_queued(pod(), suspended=False, workloads=(_workload(admitted=True, message=None),)))

    assert fact(found, "Training")[0] == "True"
    [child] = [item for item in found.apply if item["kind"] == "Job"]
    assert child["spec"]["suspend"] is False


def test_preemption_is_a_disruption_and_no_failure() -> None:
    """Quota that is taken back counts once, whatever becomes of the pods, and costs no retry."""
    taken = (_workload(evicted=True, evictions=1, message=PREEMPTED),)
    found = _plan(_queued(pod(deletion=NOW), suspended=False, workloads=taken), backoff={"limit": 0})

    assert found.status["training"] == {"disruptions": 1, "restarts": 0}
    assert fact(found, "Scheduled")[:2] == ("False", "WaitingForQuota")
    assert PREEMPTED in fact(found, "Scheduled")[2]


@pytest.mark.parametrize("limit", ["activeDeadlineSeconds", "preRunningDeadlineSeconds"])
def test_deadlines_do_not_run_in_the_queue(limit: str) -> None:
    """A wait of hours for quota fails no deadline, and time counts from the admission."""
    waiting = _queued(created=ago(7200), workloads=(_workload(),))
    admitted = _queued(created=ago(7200), started=ago(50), suspended=False, workloads=(_workload(admitted=True),))

    assert plan(seen(ACCEPTED, {limit: 60}, training={0: waiting}, **store())).status["phase"] == "Queued"
    assert plan(seen(ACCEPTED, {limit: 60}, training={0: admitted}, **store())).status["phase"] == "Training"
    assert plan(seen(ACCEPTED, {limit: 40}, training={0: admitted}, **store())).status["phase"] == "Failed"


def test_suspension_goes_by_the_workload() -> None:
    """Kueue would resume a Job that somebody else suspends, so its Workload is taken out of the queue, and put back later."""
    running = _queued(pod(), suspended=False, workloads=(_workload(admitted=True),))
    stopped = _plan(running, suspend=True)
    before = {"conditions": [*ACCEPTED["conditions"], conditions_of("Suspended", "True")]}
    out = _workload(active=False, message="The workload is deactivated")
    resumed = _plan(_queued(workloads=(out,)), before)
    others = _plan(_queued(workloads=(out,)))

    assert [(each.ref.kind, each.path, each.old, each.new) for each in stopped.replace] == [
        (WORKLOAD, "/spec/active", True, False)
    ]
    assert not [item for item in stopped.apply if item["kind"] == "Job"]
    assert [(each.old, each.new) for each in resumed.replace] == [(False, True)]
    assert others.replace == ()


def test_without_kueue_the_job_itself_is_suspended() -> None:
    """A queue that nobody looks after holds nothing back: suspending and resuming work as without one."""
    stopped = _plan(_queued(pod(), suspended=False), suspend=True)
    before = {"conditions": [*ACCEPTED["conditions"], conditions_of("Suspended", "True")]}
    resumed = _plan(_queued(), before)

    assert [item["spec"]["suspend"] for item in stopped.apply if item["kind"] == "Job"] == [True]
    assert [item["spec"]["suspend"] for item in resumed.apply if item["kind"] == "Job"] == [False]


def test_workload_is_read() -> None:
    """An evicted Workload holds no quota; times at which somebody took it out of the queue are no evictions."""
    conditions = [
        {"type": "Admitted", "status": "True", "message": "The workload is admitted"},
        {"type": "Evicted", "status": "True", "message": PREEMPTED},
        {"type": "QuotaReserved", "status": "False", "message": NO_ROOM},
    ]
    stats = {"evictions": [{"reason": "Preempted", "count": 2}, {"reason": "Deactivated", "count": 1}]}
    value = {"metadata": {"name": "w", "uid": "u"}, "status": {"conditions": conditions, "schedulingStats": stats}}

    assert reading.workload(value) == Workload(
        name="w",
        uid="u",
        active=True,
        admitted=False,
        evicted=True,
        evictions=2,
        message=f"{PREEMPTED}; {NO_ROOM}",
    )


@pytest.mark.parametrize(
    ("kind", "owner", "key"),
    [
        ("Job", "sentiment-train-12", ("team", "sentiment")),
        ("Job", "a-train-0-preflight", ("team", "a-train-0")),
        ("Job", "sentiment-optimize", ("team", "sentiment")),
        ("Job", "nightly", None),
        ("RayJob", "sentiment-train-0", None),
    ],
)
def test_workload_wakes_its_bertjob(kind: str, owner: str, key: tuple[str, str] | None) -> None:
    """A Workload is told to belong to a BertJob by the name of the Job that it is made for."""
    owners = [{"kind": kind, "name": owner, "uid": "u", "controller": True}]
    value = {"metadata": {"name": "w", "namespace": "team", "ownerReferences": owners}}

    assert workload_key(value) == key
