"""Since when ends are seen: by a clock of our own, whatever the wall clocks of operator, server and nodes say."""

from datetime import timedelta

import pytest
from support.fake_kubelet import MODEL
from support.observing import ACCEPTED, ago, ended, job, pod, seen, store

from bertjob_api.termination import Result
from bertjob_operator.plan import plan
from bertjob_operator.shell.endings import SETTLE, Endings, Firsts

KEY = ("default", "sentiment")


def test_what_is_new_is_told_by_our_own_clock() -> None:
    """A thing is new for so long after it was first seen; one that was away begins anew; keys do not meet."""
    now = [100.0]
    firsts = Firsts(clock=lambda: now[0])
    span = timedelta(seconds=10)

    assert firsts.newer("a", ["x"], than=span) == {"x"}
    now[0] += 9
    assert firsts.newer("a", ["x", "y"], than=span) == {"x", "y"}
    assert firsts.newer("b", ["x"], than=span) == {"x"}
    now[0] += 1
    assert firsts.newer("a", ["x", "y"], than=span) == {"y"}
    assert firsts.newer("a", ["y"], than=span) == {"y"}
    assert firsts.newer("a", ["x"], than=span) == {"x"}


@pytest.mark.parametrize("finished", [ago(-3600), ago(0), ago(3600)])
def test_a_new_end_settles_whatever_the_server_says(finished: object) -> None:
    """An end without a result costs no attempt at first sight, though the server's clock is an hour off."""
    over = job("sentiment-train-0", complete=True, finished=finished)
    found = Endings().marked(seen(ACCEPTED, training={0: over}, **store()), key=KEY)

    assert found.training[0].settling
    assert plan(found).rule == "end_settling"
    assert plan(found).requeue_after == SETTLE


def test_a_result_counts_when_the_others_linger() -> None:
    """While other pods still run a result is not yet taken; when they linger it is, and they are stopped."""
    good = ended(result=Result(artifact=MODEL, steps=3, metrics={}))
    running = job("sentiment-train-0", good, pod("sentiment-train-0-1-x", index=1))
    at_first = Endings().marked(seen(ACCEPTED, training={0: running}, **store()), key=KEY)
    lingers = job("sentiment-train-0", *running.pods, lingering=True)

    assert not at_first.training[0].lingering
    assert plan(at_first).rule == "training_running"
    assert plan(seen(ACCEPTED, training={0: lingers}, **store())).rule == "succeeded"
