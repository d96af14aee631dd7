"""What is kept of pods and nodes between two looks equals what a look at all of them gives."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bertjob_api.cluster import Change, Object
from bertjob_operator.plan import reading
from bertjob_operator.runtime.store import Store
from bertjob_operator.shell.nodes import NodeBook
from bertjob_operator.shell.pods import PodBook

SINCE = "2026-01-02T03:04:05Z"


def _pod(name: str, uid: str, owner: str | None, index: int | None, phase: str, node: str | None) -> Object:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": f"{name}-{uid}"}
    if owner is not None:
        metadata["ownerReferences"] = [{"uid": owner}]
    if index is not None:
        metadata["annotations"] = {reading.INDEX_ANNOTATION: str(index)}
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": {"phase": phase}}


PODS = st.builds(
    _pod,
    st.sampled_from("abc"),
    st.sampled_from("12"),
    st.sampled_from(["x", "y", None]),
    st.sampled_from([0, 1, 10, None]),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
    st.sampled_from(["n", "m", None]),
)
LOOKS = st.lists(
    st.tuples(st.builds(Change, st.sampled_from(["Added", "Modified", "Deleted"]), PODS), st.booleans()), max_size=25
)


@given(looks=LOOKS)
def test_pods_equal_a_look_at_all(looks: list[tuple[Change, bool]]) -> None:
    """After any changes, and whenever somebody looked in between, the pods of a Job are those in the store, in order."""
    store = Store()
    book = PodBook(store)
    for change, looked in looks:
        store.feed(change)
        if looked:
            book.of("x")

    for owner in "xy":
        there = [reading.pod(value) for value in store.by_owner(owner)]
        ordered = sorted(there, key=lambda pod: (pod.index is None, pod.index or 0, pod.name))
        assert list(book.of(owner)) == ordered
    assert len(book) == sum(bool(store.by_owner(owner)) for owner in "xy")


def test_a_change_that_no_rule_reads_is_no_change() -> None:
    """What was found out about ten thousand pods stays when one of them gets another version."""
    store = Store()
    book = PodBook(store)
    pod = _pod("a", "1", "x", 0, "Running", "n")
    store.feed(Change("Added", pod))
    before = book.of("x")
    store.feed(Change("Modified", {**pod, "metadata": {**pod["metadata"], "resourceVersion": "2"}}))
    same = book.of("x")
    store.feed(Change("Modified", {**pod, "status": {"phase": "Failed"}}))
    after = book.of("x")

    assert same is before
    assert [each.phase for each in (*before, *after)] == ["Running", "Failed"]


def test_silent_nodes() -> None:
    """A node is silent while it is not Ready, whatever it was before, and when it is gone; without nodes nothing is known."""
    store = Store()
    book = NodeBook(store)
    nothing_known = book.silent(["good", "away"])
    for change in (
        Change("Added", _node("good", "False")),
        Change("Modified", _node("good", "True")),
        Change("Added", _node("bad", "True")),
        Change("Modified", _node("bad", "Unknown")),
        Change("Added", _node("away", "True")),
        Change("Deleted", _node("away", "True")),
    ):
        store.feed(change)

    assert nothing_known == {}
    assert book.silent(["good", "bad", "away"]) == {"bad": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "away": None}


def _node(name: str, ready: str) -> Object:
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": SINCE}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}
