"""A stream of changes is complete whatever the source does."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_api.cluster import Change, ForbiddenError, NotFoundError, Object, UnavailableError
from bertjob_operator.runtime.delays import Timings
from bertjob_operator.runtime.errors import ExpiredError
from bertjob_operator.runtime.reflector import difference, key_of, reflect

QUICK = Timings(
    backoff_first=timedelta(milliseconds=1),
    backoff_most=timedelta(milliseconds=2),
    not_served=timedelta(milliseconds=1),
)


def _object(name: str, version: int = 1, uid: str = "u") -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version), "uid": f"{uid}-{name}"}}


class Script:
    """A source that does what it was told, one step after another, and then waits for ever."""

    def __init__(self, *steps: Any) -> None:
        self._steps = list(steps)
        self.watched_from: list[str] = []

    async def objects(self) -> tuple[list[Object], str]:
        """Do the next step as a list."""
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        objects, version = step
        return objects, str(version)

    async def events(self, version: str) -> AsyncGenerator[tuple[str, Object]]:
        """Do the next step as a watch."""
        self.watched_from.append(version)
        if not self._steps:
            await asyncio.Event().wait()
        step = self._steps.pop(0)
        for event in step if isinstance(step, list) else [step]:
            if isinstance(event, Exception):
                raise event
            yield event


async def _first(count: int, source: Script) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async with aclosing(reflect(source, timings=QUICK)) as changes:
        async for change in changes:
            found.append((change.type, change.object.get("metadata", {}).get("name", "")))
            if len(found) == count:
                return found
    raise AssertionError


OBJECTS = st.lists(
    st.builds(_object, st.sampled_from("abcd"), st.integers(1, 3), st.sampled_from("uv")),
    unique_by=lambda obj: obj["metadata"]["name"],
)


@given(before=OBJECTS, after=OBJECTS)
def test_difference_leads_from_one_state_to_the_other(before: list[Object], after: list[Object]) -> None:
    """Whoever plays the changes on the old state has the new one, and hears of every incarnation's end."""
    state = {key_of(obj): obj for obj in before}
    for change in difference(dict(state), after):
        key = key_of(change.object)
        if change.type == "Deleted":
            assert state.pop(key) is change.object
        else:
            assert (change.type == "Modified") == (key in state)
            assert change.type == "Added" or state[key]["metadata"]["uid"] == change.object["metadata"]["uid"]
            state[key] = change.object

    assert state == {key_of(obj): obj for obj in after}


def test_no_difference_for_equal_versions() -> None:
    """An object whose version is known is no news."""
    assert difference({("", "a"): _object("a")}, [_object("a")]) == []


async def test_existing_then_synced_then_changes() -> None:
    """What exists comes as Added, then Synced, then events in order; bookmarks are silent."""
    source = Script(
        ([_object("a"), _object("b")], 5),
        [
            ("MODIFIED", _object("a", 6)),
            ("BOOKMARK", {"metadata": {"resourceVersion": "8"}}),
            ("ADDED", _object("c", 9)),
        ],
        [("DELETED", _object("b", 10))],
    )

    assert await _first(6, source) == [
        ("Added", "a"),
        ("Added", "b"),
        ("Synced", ""),
        ("Modified", "a"),
        ("Added", "c"),
        ("Deleted", "b"),
    ]
    assert source.watched_from == ["5", "9"]


async def test_watch_resumes_after_a_bookmark() -> None:
    """A broken watch goes on from the last version seen, that of a bookmark included."""
    source = Script(
        ([], 5),
        [("BOOKMARK", {"metadata": {"resourceVersion": "8"}}), UnavailableError("cut")],
        [("ADDED", _object("a", 9))],
    )

    assert await _first(2, source) == [("Synced", ""), ("Added", "a")]
    assert source.watched_from == ["5", "8"]


async def test_expired_version_lists_again_with_the_difference() -> None:
    """After 410 what was deleted, added and changed meanwhile is delivered, and Synced does not come twice."""
    source = Script(
        ([_object("gone"), _object("kept"), _object("old")], 5),
        ExpiredError("too old"),
        ([_object("kept"), _object("old", 7), _object("new", 8)], 9),
        [("DELETED", _object("kept", 10))],
    )

    found = await _first(8, source)

    assert found[4:] == [("Deleted", "gone"), ("Modified", "old"), ("Added", "new"), ("Deleted", "kept")]
    assert source.watched_from == ["5", "9"]


async def test_failed_lists_are_tried_again() -> None:
    """Neither an outage nor a missing right ends the stream."""
    source = Script(UnavailableError("down"), ForbiddenError("no right"), ([_object("a")], 5))

    assert await _first(2, source) == [("Added", "a"), ("Synced", "")]


async def test_unknown_kind_is_empty_until_it_is_served() -> None:
    """A kind that the server does not know is synced at once, and its objects come when it learns the kind."""
    source = Script(NotFoundError("404"), NotFoundError("404"), ([_object("a")], 5))

    assert await _first(2, source) == [("Synced", ""), ("Added", "a")]


async def test_kind_that_goes_away() -> None:
    """When the server forgets a kind, its objects are gone too."""
    source = Script(([_object("a")], 5), NotFoundError("404"), NotFoundError("404"), ([_object("b")], 9))

    assert (await _first(4, source))[2:] == [("Deleted", "a"), ("Added", "b")]


async def test_deletion_of_an_unknown_object_is_silent() -> None:
    """A watch that starts before its list may tell of objects that never were Added; those are no news."""
    source = Script(([], 5), [("DELETED", _object("a", 6)), ("ADDED", _object("b", 7))])

    assert await _first(2, source) == [("Synced", ""), ("Added", "b")]


async def test_outages_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Every failure is one warning with its message and the time to the next attempt."""
    await _first(1, Script(UnavailableError("list pods: down"), ([], 5)))

    assert [record.getMessage() for record in caplog.records] == ["list pods: down; next attempt in 0.0 s"]


def test_change_is_a_value() -> None:
    """Equal changes are equal, so that tests and users can compare them."""
    assert Change("Added", _object("a")) == Change("Added", _object("a"))
