"""At most one candidate leads, and the next one takes over as soon as that is safe."""

import asyncio
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.async_waiting import until

from bertjob_api.cluster import ConflictError, NotFoundError, Object, UnavailableError
from bertjob_operator.runtime.lease import Elector, LeadershipLostError, Terms, may_take, remaining, renewed

NOW = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
LEASE = timedelta(seconds=15)
CALM = Terms(lease=timedelta(seconds=60), renew=timedelta(seconds=50), retry=timedelta(seconds=0.02))
"""A deadline that no slow machine misses."""
SHORT = Terms(lease=timedelta(seconds=1), renew=timedelta(seconds=0.4), retry=timedelta(seconds=0.02))


def _held(holder: str, **spec: Any) -> Object:
    return {"metadata": {"name": "x"}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec}}


@pytest.mark.parametrize("lease", [None, {"metadata": {}}, _held(""), _held("me")])
def test_free_or_own_lease_may_be_taken_at_once(lease: Object | None) -> None:
    """Nobody has to wait for a Lease that is absent, new, released or his own."""
    assert may_take(lease, identity="me", unchanged=timedelta(0))


@given(seconds=st.integers(1, 60), unchanged=st.floats(0, 100))
def test_lease_of_another_may_be_taken_when_its_own_time_is_over(seconds: int, unchanged: float) -> None:
    """The holder's own duration counts, from when the candidate saw the last renewal."""
    lease = _held("other", leaseDurationSeconds=seconds)

    assert may_take(lease, identity="me", unchanged=timedelta(seconds=unchanged)) == (
        timedelta(seconds=unchanged) >= timedelta(seconds=seconds)
    )


@pytest.mark.parametrize(
    ("lease", "now", "left"),
    [
        (_held("other"), 103.0, timedelta(seconds=12)),
        (_held("other"), 115.0, timedelta.max),
        (_held("", leaseDurationSeconds=1), 100.5, timedelta(seconds=0.5)),
        (None, 100.0, timedelta.max),
    ],
)
def test_candidates_look_when_the_lease_ends(lease: Object | None, now: float, left: timedelta) -> None:
    """A Lease that was seen renewed at 100 s lasts its own time from then; one that has ended asks for no look of its own."""
    assert remaining(lease, seen_at=100.0, now=now) == left


def test_first_lease() -> None:
    """A new Lease has a holder, both times and no transition."""
    assert renewed(None, holder="me", now=NOW, lease=LEASE)["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-03-01T12:00:00.000005Z",
        "renewTime": "2026-03-01T12:00:00.000005Z",
        "leaseTransitions": 0,
    }


def test_renewal_moves_only_the_renew_time() -> None:
    """Acquire time and transitions tell when and how often the holder changed, so a renewal leaves them."""
    first = renewed(None, holder="me", now=NOW, lease=LEASE)

    second = renewed(first, holder="me", now=NOW + LEASE, lease=LEASE)

    assert second["spec"] == {**first["spec"], "renewTime": "2026-03-01T12:00:15.000005Z"}


def test_takeover_and_release_keep_what_others_wrote() -> None:
    """A new holder is a transition; labels, version and unknown fields of the Lease stay; a release is short."""
    before = _held("other", leaseTransitions=4, strategy="x")
    before["metadata"] |= {"resourceVersion": "7", "labels": {"a": "b"}}

    taken = renewed(before, holder="me", now=NOW, lease=LEASE)
    released = renewed(taken, holder="", now=NOW, lease=LEASE)

    assert taken["metadata"] == before["metadata"]
    assert (taken["spec"]["leaseTransitions"], taken["spec"]["strategy"]) == (5, "x")
    assert (released["spec"]["holderIdentity"], released["spec"]["leaseDurationSeconds"]) == ("", 1)
    assert released["spec"]["leaseTransitions"] == 5


@pytest.mark.parametrize(("lease", "renew", "retry"), [(15, 15, 2), (15, 10, 10), (15, 10, 0), (1.5, 1, 0.5)], ids=str)
def test_unsafe_terms_are_refused(lease: float, renew: float, retry: float) -> None:
    """A leader must give up before others may take over, and the API stores whole seconds."""
    with pytest.raises(ValueError, match="expected 0 < retry < renew < lease"):
        Terms(lease=timedelta(seconds=lease), renew=timedelta(seconds=renew), retry=timedelta(seconds=retry))


class Leases:
    """An API server that knows one Lease, its versions, and how to fail."""

    def __init__(self) -> None:
        self.stored: Object | None = None
        self.log: list[str] = []
        self.down = False
        self.forgets_to_answer = 0
        """So many of the next writes are done, and the answer is lost."""

    async def request(self, method: str, path: str, *, body: Any = None) -> Object:  # noqa: ARG002  # as the real one
        """Do as the real one does."""
        await asyncio.sleep(0)
        self.log.append(method)
        if self.down:
            raise UnavailableError("down")
        if method == "GET":
            if self.stored is None:
                raise NotFoundError("absent")
            return deepcopy(self.stored)
        self._check(method, body)
        self.write(body)
        if self.forgets_to_answer:
            self.forgets_to_answer -= 1
            raise UnavailableError("answer lost")
        return deepcopy(self.stored or {})

    def write(self, body: Object) -> None:
        """Store *body* as a new version."""
        version = int(self.stored["metadata"]["resourceVersion"]) + 1 if self.stored else 1
        self.stored = deepcopy(body)
        self.stored["metadata"]["resourceVersion"] = str(version)

    def _check(self, method: str, body: Object) -> None:
        if method == "POST" and self.stored is not None:
            raise ConflictError("exists")
        if method == "PUT" and self.stored is None:
            raise NotFoundError("absent")
        if method == "PUT" and self.stored and body["metadata"] != self.stored["metadata"]:
            raise ConflictError("stale")

    @property
    def holder(self) -> str:
        """Return who holds the Lease, or nothing."""
        return str(self.stored["spec"]["holderIdentity"]) if self.stored else ""


def _elector(api: Leases, identity: str = "me", *, terms: Terms = CALM) -> Elector:
    return Elector(api, namespace="n", name="x", identity=identity, terms=terms)


class Work:
    """A leading callable that tells when it runs."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def lead(self) -> None:
        """Run until cancelled."""
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_leader_renews_with_one_write_and_releases() -> None:
    """A leader reads once, then only writes; when it is told to end it releases the Lease after its work has ended."""
    api, work = Leases(), Work()
    elector = _elector(api)
    task = asyncio.create_task(elector.run(work.lead))
    await work.started.wait()
    assert elector.leading
    await until(lambda: len(api.log) >= 5)
    await _cancelled(task)

    assert api.log[:5] == ["GET", "POST", "PUT", "PUT", "PUT"]
    assert work.ended.is_set()
    assert not elector.leading
    assert api.holder == ""


async def test_next_candidate_leads_after_release() -> None:
    """A released Lease is taken by a waiting candidate, and the transition is counted."""
    api, first, second = Leases(), Work(), Work()
    leader = asyncio.create_task(_elector(api, "a").run(first.lead))
    await first.started.wait()
    waiting = asyncio.create_task(_elector(api, "b").run(second.lead))
    await _cancelled(leader)
    await second.started.wait()

    assert first.ended.is_set()
    assert api.holder == "b"
    assert api.stored is not None
    assert api.stored["spec"]["leaseTransitions"] == 1
    await _cancelled(waiting)


async def test_leader_that_cannot_renew_stops_and_says_so() -> None:
    """When the renew deadline passes, the work is cancelled and the caller is told to end the process."""
    api, work = Leases(), Work()
    task = asyncio.create_task(_elector(api, terms=SHORT).run(work.lead))
    await work.started.wait()
    api.down = True

    with pytest.raises(LeadershipLostError, match="not renewed for"):
        await task
    assert work.ended.is_set()
    assert api.holder == "me"


async def test_leader_that_hears_nothing_stops() -> None:
    """A request that never ends counts as not renewed."""
    api, work = Leases(), Work()
    task = asyncio.create_task(_elector(api, terms=SHORT).run(work.lead))
    await work.started.wait()

    async def hang(*_: Any, **__: Any) -> Object:
        await asyncio.Event().wait()
        raise AssertionError

    api.request = hang  # type: ignore[method-assign]

    with pytest.raises(LeadershipLostError):
        await task
    assert work.ended.is_set()


async def test_leader_stops_at_once_when_another_one_holds_the_lease() -> None:
    """Somebody else's name in the Lease ends leadership before any deadline."""
    api, work = Leases(), Work()
    task = asyncio.create_task(_elector(api).run(work.lead))
    await work.started.wait()
    assert api.stored is not None
    api.write({**api.stored, "spec": {**api.stored["spec"], "holderIdentity": "thief"}})

    with pytest.raises(LeadershipLostError, match="belongs to thief now"):
        await task
    assert api.holder == "thief"


async def test_lost_answers_and_foreign_labels_do_not_end_leadership() -> None:
    """A write whose answer was lost, or a label by somebody else, makes the next write stale; we look and go on."""
    api, work = Leases(), Work()
    task = asyncio.create_task(_elector(api).run(work.lead))
    await work.started.wait()
    api.forgets_to_answer = 1
    await until(lambda: not api.forgets_to_answer and "GET" in api.log[2:])
    assert api.stored is not None
    api.write({**api.stored, "metadata": {**api.stored["metadata"], "labels": {"a": "b"}}})
    before = len(api.log)
    await until(lambda: "GET" in api.log[before:] and api.log[-1] == "PUT")

    assert not task.done()
    await _cancelled(task)
    assert api.holder == ""


async def test_release_after_a_lost_answer() -> None:
    """The Lease is released even when its version is no longer the one we know."""
    api, work = Leases(), Work()
    task = asyncio.create_task(_elector(api).run(work.lead))
    await work.started.wait()
    assert api.stored is not None
    api.write(api.stored)
    await _cancelled(task)

    assert api.holder == ""


async def test_candidate_survives_an_outage() -> None:
    """A candidate that cannot reach the API server keeps trying."""
    api, work = Leases(), Work()
    api.down = True
    task = asyncio.create_task(_elector(api).run(work.lead))
    await until(lambda: len(api.log) >= 3)
    api.down = False
    await work.started.wait()
    await _cancelled(task)


async def test_end_and_failure_of_the_work() -> None:
    """Work that ends or fails releases the Lease, and a failure reaches the caller."""
    api = Leases()

    async def fail() -> None:
        raise ZeroDivisionError

    async def end() -> None:
        return

    with pytest.raises(ZeroDivisionError):
        await _elector(api).run(fail)
    assert api.holder == ""
    await _elector(api).run(end)
    assert api.holder == ""
