"""Nodes on which training pods fail again and again."""

from typing import Any

import pytest
from support.observing import ACCEPTED, applied, ended, job, pod, seen, store

from bertjob_operator.plan import Plan, metadata, plan
from bertjob_operator.plan.children import Job, Pod

BACKOFF = {"backoff": {"limit": 10}}


def _failed(count: int, **fields: Any) -> list[Pod]:
    return [ended(75, name=f"p-{index}", node="node-a", **fields) for index in range(count)]


def _plan(child: Job, attempt: int = 0, spec: dict[str, Any] | None = None) -> Plan:
    status = {**ACCEPTED, "attempt": attempt, "training": {"step": 5, "total": 10}}
    return plan(seen(status, {**BACKOFF, **(spec or {})}, training={attempt: child}, **store()))


def test_attempt_ends_before_the_next_begins() -> None:
    """The pods are stopped first; the next attempt begins when none is left, and the one before stays for its logs."""
    running = _plan(job("sentiment-train-0", pod(), *_failed(3)))
    ending = _plan(job("sentiment-train-0", pod(), *_failed(3), suspended=True))

    for found in (running, ending):
        assert found.rule == "node_failing"
        assert [item["spec"]["suspend"] for item in found.apply if item["kind"] == "Job"] == [True]
    assert "Job sentiment-train-1" in applied(_plan(job("sentiment-train-0", *_failed(3), suspended=True)))


def test_next_attempt_prefers_other_nodes() -> None:
    """Its pods would rather run elsewhere, may run there if there is nothing else, and keep what the user prefers."""
    mine = {"weight": 5, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}}
    key = "preferredDuringSchedulingIgnoredDuringExecution"
    overlay = {"spec": {"affinity": {"nodeAffinity": {key: [mine]}, "podAntiAffinity": {}}}}
    found = _plan(job("t", *_failed(3), suspended=True), spec={"training": {"podTemplate": overlay}})
    child = next(item for item in found.apply if item["kind"] == "Job")
    affinity = child["spec"]["template"]["spec"]["affinity"]

    assert child["metadata"]["annotations"] == {metadata.AVOIDED_ANNOTATION: "node-a"}
    assert affinity["podAntiAffinity"] == {}
    assert affinity["nodeAffinity"][key] == [
        mine,
        {
            "weight": 100,
            "preference": {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-a"]}]},
        },
    ]


@pytest.mark.parametrize(
    "child",
    [
        job("t", pod(), *_failed(2)),
        job("t", pod(), *_failed(3, disrupted=True)),
        job("t", pod(), *(ended(143, name=f"p-{n}", node="node-a") for n in range(4))),
        job("t", pod(), *(ended(75, name=f"p-{n}", node=f"node-{n}") for n in range(4))),
        job("t", pod(), *_failed(3), annotations={metadata.AVOIDED_ANNOTATION: "node-a"}),
    ],
    ids=["too few", "disrupted", "evicted", "on many nodes", "avoided already"],
)
def test_attempt_goes_on(child: Job) -> None:
    """What the infrastructure did, what happens everywhere and what was answered before ends no attempt."""
    assert _plan(child).rule == "training_running"
