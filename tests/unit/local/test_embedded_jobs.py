"""Decisions of the embedded Job controller that the clock and odd cases make."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_local.embedded import jobs, placement, pods, rolling, services
from bertjob_local.embedded.failure_policy import action_for
from bertjob_local.embedded.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings(job_backoff=timedelta(seconds=10))


def a_job(count=2, status=None, **spec):
    body = {"completionMode": "Indexed", "completions": count, "parallelism": count, "template": {}, **spec}
    return {"metadata": {"name": "j"}, "spec": body, "status": status or {}}


def a_pod(index, phase="Running", *, deleted=False, tracked=True):
    metadata = {"name": f"p-{index}", "namespace": "default", "annotations": {jobs.INDEX: str(index)}}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if tracked:
        metadata["finalizers"] = [pods.TRACKING]
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": phase}}


def step_of(job, found, failures=jobs.Failures()):  # noqa: B008  # frozen
    return jobs.next_step(job, found, failures=failures, now=NOW, settings=SETTINGS)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), ""), ((0,), "0"), ((0, 1), "0,1"), ((0, 1, 2), "0-2"), ((0, 2, 3, 4, 6), "0,2-4,6")],
)
def test_indexes_are_written_as_ranges(numbers, text):
    """Completed indexes are spelled as the real controller does."""
    assert jobs.ranges(numbers) == text


@given(st.sets(st.integers(0, 60)))
def test_ranges_round_trip(numbers):
    """What is written is read back."""
    assert jobs.indexes(jobs.ranges(numbers)) == numbers


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 10), (2, 20), (4, 80), (40, 600)])
def test_replacement_waits_longer_each_time(failures, wait_s):
    """A failed pod is replaced after 10, 20, 40 ... seconds, at most ten minutes."""
    waiting = step_of(a_job(), [a_pod(0)], jobs.Failures(failures, NOW))
    later = step_of(a_job(), [a_pod(0)], jobs.Failures(failures, NOW - timedelta(seconds=wait_s)))

    assert (waiting.create, waiting.after) == ((), timedelta(seconds=wait_s))
    assert later.create == (1,)


def test_terminating_pod_holds_its_index():
    """Under podReplacementPolicy Failed a pod that is still ending is not replaced; otherwise it is."""
    found = [a_pod(0), a_pod(1, deleted=True)]

    assert step_of(a_job(podReplacementPolicy="Failed"), found).create == ()
    assert step_of(a_job(), found).create == (1,)


def test_scaling_down_takes_the_highest_index_and_does_not_count_it():
    """A pod beyond the completions loses its finalizer before it is deleted."""
    surplus = a_pod(1)
    step = step_of(a_job(1), [a_pod(0), surplus])

    assert (step.delete, step.release, step.create) == ((surplus,), (surplus,), ())


def test_counted_pod_is_not_counted_twice():
    """Only a pod that still carries the finalizer adds to the figures."""
    job = a_job(status={"failed": 1})

    assert step_of(job, [a_pod(0, "Failed", tracked=False)]).status["failed"] == 1
    assert step_of(job, [a_pod(0, "Failed")]).status["failed"] == 2


def test_plain_job_counts_successes():
    """A Job without indexes completes after as many successes as wanted."""
    job = a_job(2, completionMode="NonIndexed", status={"succeeded": 1})
    pod = a_pod(0, "Succeeded")
    del pod["metadata"]["annotations"]

    assert pods.has_condition({"status": step_of(job, [pod]).status}, "Complete")
    assert step_of(job, []).create == (None,)


@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["Running", "Failed", "Succeeded"]), st.booleans())),
)
def test_no_index_ever_has_two_pods(count, drawn):
    """Whatever pods there are, new ones go to free wanted indexes only."""
    found = [a_pod(index, phase, deleted=deleted) for index, phase, deleted in drawn]
    job = a_job(count, podReplacementPolicy="Failed", backoffLimit=99)

    step = jobs.next_step(job, found, failures=jobs.Failures(), now=NOW, settings=Settings(job_backoff=timedelta()))
    alive = {index for index, phase, _ in drawn if phase == "Running"}

    assert not set(step.create) & alive
    assert set(step.create) <= set(range(count))
    assert len(set(step.create)) == len(step.create)


def test_exit_code_rule_can_name_a_container_and_exclude_codes():
    """Operators In and NotIn, and a rule for one container, as documented; success never matches."""
    pod = a_pod(0, "Failed")
    state = {"terminated": {"exitCode": 7}}
    done = {"terminated": {"exitCode": 0}}
    pod["status"]["containerStatuses"] = [{"name": "main", "state": state}, {"name": "side", "state": done}]

    def action(**codes):
        return action_for({"rules": [{"action": "FailJob", "onExitCodes": codes}]}, pod)[0]

    assert action(operator="In", values=[7]) == "FailJob"
    assert action(operator="NotIn", values=[7]) == "Count"
    assert action(operator="NotIn", values=[1]) == "FailJob"
    assert action(operator="In", values=[7], containerName="side") == "Count"


def a_node(name, *, ready="True", **labels):
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def test_pod_goes_to_the_emptiest_ready_node():
    """Lost nodes and nodes that the selector excludes get nothing; without a node the answer is None."""
    nodes = [a_node("a"), a_node("b", disk="ssd"), a_node("c", ready="Unknown")]
    busy = [{"spec": {"nodeName": "a"}, "metadata": {}, "status": {"phase": "Running"}}]
    plain = {"spec": {}, "metadata": {}}

    assert placement.node_for(plain, nodes=nodes, all_pods=busy) == "b"
    assert placement.node_for(plain, nodes=nodes, all_pods=[]) == "a"
    picky = {"spec": {"nodeSelector": {"disk": "tape"}}, "metadata": {}}
    assert placement.node_for(picky, nodes=nodes, all_pods=[]) is None


def a_deployment(replicas=2, version="1"):
    template = {"metadata": {"annotations": {"v": version}}, "spec": {}}
    return {"metadata": {"generation": 1}, "spec": {"replicas": replicas, "template": template}}


def a_replica(deployment, name, *, ready):
    labels = {services.HASH: services.template_hash(deployment)}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    metadata = {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Running", "conditions": conditions}}


def test_rolling_update_never_goes_below_the_wanted_replicas():
    """One new pod at a time; an old one goes only when a new one is ready."""
    old, new = a_deployment(version="1"), a_deployment(version="2")
    found = [a_replica(old, f"old-{n}", ready=True) for n in range(2)]
    for number in range(2):
        roll = rolling.next_roll(new, found)
        assert (roll.create, roll.delete) == (1, ())
        found.append(a_replica(new, f"new-{number}", ready=False))
        assert rolling.next_roll(new, found).create == 0
        assert rolling.next_roll(new, found).delete == ()
        found[-1] = a_replica(new, f"new-{number}", ready=True)
        roll = rolling.next_roll(new, found)
        assert len(roll.delete) == 1
        assert roll.delete[0]["metadata"]["name"].startswith("old")
        found.remove(roll.delete[0])

    final = rolling.next_roll(new, found)
    assert (final.create, final.delete) == (0, ())
    assert final.status["updatedReplicas"] == final.status["availableReplicas"] == 2


def test_stuck_pods_of_a_bad_template_make_way():
    """Going back to the first template removes the pod that never got ready, and starts nothing."""
    good, bad = a_deployment(1, "1"), a_deployment(1, "2")
    stuck = a_replica(bad, "stuck", ready=False)

    roll = rolling.next_roll(good, [a_replica(good, "good", ready=True), stuck])

    assert (roll.create, roll.delete) == (0, (stuck,))
