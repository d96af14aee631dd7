"""A store answers as a search through all objects would."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bertjob_api.cluster import Change, Object
from bertjob_operator.runtime.store import Store

SYNCED = Change("Synced", {})


def _object(name: str, *, owners: tuple[str, ...] = (), labels: dict[str, str] | None = None) -> Object:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    if owners:
        metadata["ownerReferences"] = [{"uid": owner} for owner in owners]
    if labels is not None:
        metadata["labels"] = labels
    return {"metadata": metadata}


OBJECTS = st.builds(
    _object,
    st.sampled_from("abcd"),
    owners=st.lists(st.sampled_from("xy"), max_size=2).map(tuple),
    labels=st.none() | st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from("12")),
)
CHANGES = st.lists(st.builds(Change, st.sampled_from(["Added", "Modified", "Deleted"]), OBJECTS), max_size=30)


@given(changes=CHANGES, first_question=st.integers(0, 30))
def test_indexes_equal_a_search(changes: list[Change], first_question: int) -> None:
    """After any changes, and whenever an index was first used, it gives what looking at every object gives."""
    store = Store()
    model: dict[str, Object] = {}
    for number, change in enumerate(changes):
        if number == first_question:
            store.by_label("k", "1")
        name = change.object["metadata"]["name"]
        assert store.feed(change) == model.get(name)
        if change.type == "Deleted":
            model.pop(name, None)
        else:
            model[name] = change.object

    ordered = [model[name] for name in sorted(model)]
    for owner in "xy":
        assert store.by_owner(owner) == [
            obj for obj in ordered if owner in [each["uid"] for each in obj["metadata"].get("ownerReferences", ())]
        ]
    for value in "12":
        assert store.by_label("k", value) == [
            obj for obj in ordered if obj["metadata"].get("labels", {}).get("k") == value
        ]
    assert sorted(obj["metadata"]["name"] for obj in store) == sorted(model)
    assert len(store) == len(model)


def test_get() -> None:
    """An object is found by namespace and name; a cluster-wide one has no namespace."""
    store = Store()
    node = {"metadata": {"name": "n"}}
    store.feed(Change("Added", node))
    store.feed(Change("Added", _object("a")))

    assert store.get("", "n") is node
    assert store.get("default", "a") is not None
    assert store.get("other", "a") is None


def test_synced_when_every_source_is() -> None:
    """A store with two sources is synced with the second."""
    store = Store(sources=2)
    store.feed(SYNCED)
    before = store.synced.is_set()
    store.feed(SYNCED)

    assert (before, store.synced.is_set()) == (False, True)


def test_indexes_forget_values_that_nobody_has() -> None:
    """Uids never come back, so an index must not grow with every object that ever was."""
    store = Store()
    store.by_label("k", "1")
    obj = _object("a", owners=("x",), labels={"k": "1"})
    store.feed(Change("Added", obj))
    store.feed(Change("Deleted", obj))

    assert not store._by_owner
    assert not store._by_label["k"]
