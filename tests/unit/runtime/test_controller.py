"""Every change leads to a call of reconcile, one per key at a time, and no failure stops the others."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from bertjob_api.cluster import CONFIG_MAP, POD, Change, Cluster, Kind, Object, UnavailableError
from bertjob_operator.runtime.controller import Controller, Reconciled, Watch
from bertjob_operator.runtime.errors import RetryLaterError

HOUR = timedelta(hours=1)


class Changes:
    """The one part of a cluster that a controller uses: streams that the test feeds."""

    def __init__(self) -> None:
        self._streams: dict[Kind, asyncio.Queue[Change]] = {}

    def of(self, kind: Kind) -> asyncio.Queue[Change]:
        """Return where to put the changes of one kind."""
        return self._streams.setdefault(kind, asyncio.Queue())

    def sync(self, *kinds: Kind) -> None:
        """Say that everything that exists has been delivered."""
        for kind in kinds:
            self.of(kind).put_nowait(Change("Synced", {}))

    async def changes(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,  # noqa: ARG002  # the protocol's signature
        labels: Mapping[str, str] | None = None,  # noqa: ARG002
        keep: Callable[[Object], Object] | None = None,
    ) -> AsyncIterator[Change]:
        """See ``Cluster.changes``."""
        while True:
            change = await self.of(kind).get()
            if keep is not None and change.type != "Synced":
                change = Change(change.type, keep(change.object))
            yield change


def _object(name: str, job: str | None = None) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "labels": {"job": job} if job else {}}}


def _name(obj: Object) -> str:
    name = obj["metadata"]["name"]
    assert isinstance(name, str)
    return name


def _job(obj: Object) -> str | None:
    return cast("str | None", obj["metadata"]["labels"].get("job"))


WATCHES = [Watch(kind=CONFIG_MAP, key_of=_name), Watch(kind=POD, key_of=_job)]


class Recorder:
    """A reconcile that remembers its calls and does what the test says."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[str] = asyncio.Queue()
        self.turns: asyncio.Queue[Reconciled] = asyncio.Queue()
        self.answers: dict[str, Any] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def reconcile(self, key: str) -> timedelta | None:
        """Note the call, pass the gate and answer as told."""
        self.calls.put_nowait(key)
        await self.gate.wait()
        answer = self.answers.pop(key, None)
        if isinstance(answer, BaseException):
            raise answer
        return cast("timedelta | None", answer)


@asynccontextmanager
async def _running(cluster: Changes, recorder: Recorder, **options: Any) -> AsyncIterator[Controller[str]]:
    controller = Controller(
        cast("Cluster", cluster), WATCHES, recorder.reconcile, observe=recorder.turns.put_nowait, **options
    )
    task = asyncio.create_task(controller.run())
    try:
        yield controller
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


async def test_no_call_before_every_store_is_synced() -> None:
    """Reconcile sees complete stores: it is not called while one of them may lack something."""
    cluster, recorder = Changes(), Recorder()
    cluster.of(CONFIG_MAP).put_nowait(Change("Added", _object("a")))
    cluster.sync(CONFIG_MAP)
    async with _running(cluster, recorder) as controller:
        await controller.stores[CONFIG_MAP].synced.wait()
        assert not controller.synced
        assert recorder.calls.empty()
        cluster.sync(POD)

        assert await recorder.calls.get() == "a"
        assert controller.synced
        assert controller.stores[CONFIG_MAP].get("default", "a") == _object("a")


async def test_change_of_a_child_wakes_its_owners() -> None:
    """A child that moves from one key to another wakes both; one that belongs to nobody wakes no one."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    pods = cluster.of(POD)
    async with _running(cluster, recorder):
        pods.put_nowait(Change("Added", _object("nobody's")))
        pods.put_nowait(Change("Added", _object("p", job="a")))
        assert await recorder.calls.get() == "a"
        pods.put_nowait(Change("Modified", _object("p", job="b")))
        assert {await recorder.calls.get(), await recorder.calls.get()} == {"a", "b"}
        pods.put_nowait(Change("Deleted", _object("p", job="b")))
        assert await recorder.calls.get() == "b"


async def test_changes_during_a_call_lead_to_one_more() -> None:
    """A key is never reconciled twice at once; all changes during a call are seen by the next one."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    recorder.gate.clear()
    async with _running(cluster, recorder) as controller:
        controller.queue.add("a")
        assert await recorder.calls.get() == "a"
        for _ in range(3):
            controller.queue.add("a")
        controller.queue.add("b")
        assert await recorder.calls.get() == "b"
        assert recorder.calls.empty()
        recorder.gate.set()

        assert await recorder.calls.get() == "a"
        assert sorted([str((await recorder.turns.get()).key) for _ in range(3)]) == ["a", "a", "b"]
        assert recorder.calls.empty()


async def test_requested_turn_comes() -> None:
    """A reconcile that asks to be called again is, without any change."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    recorder.answers["a"] = timedelta(milliseconds=1)
    async with _running(cluster, recorder) as controller:
        controller.queue.add("a")
        first, second = await recorder.turns.get(), await recorder.turns.get()

    assert (first.result, first.again_after) == ("again", timedelta(milliseconds=1))
    assert (second.result, second.again_after) == ("done", None)


@pytest.mark.parametrize(
    ("error", "result"),
    [(UnavailableError("down"), "retry"), (ZeroDivisionError("bug"), "error")],
    ids=["cluster", "bug"],
)
async def test_failures_are_tried_again(error: Exception, result: str) -> None:
    """A failed call is repeated, whether the cluster or our own code failed, and other keys go on."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    recorder.answers["a"] = error
    async with _running(cluster, recorder) as controller:
        controller.queue.add("a")
        controller.queue.add("b")
        turns = [await recorder.turns.get() for _ in range(3)]

    assert sorted((str(turn.key), turn.result) for turn in turns) == sorted(
        [("a", result), ("b", "done"), ("a", "done")]
    )
    assert [turn.error for turn in turns if turn.error] == [error]


async def test_server_decides_how_long_to_stay_away() -> None:
    """The wait that a busy server asks for is the delay of the next turn."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    recorder.answers["a"] = RetryLaterError("busy", retry_after=HOUR)
    async with _running(cluster, recorder) as controller:
        controller.queue.add("a")
        turn = await recorder.turns.get()

    assert (turn.result, turn.again_after) == ("retry", HOUR)


async def test_call_that_cancels_itself_costs_no_worker() -> None:
    """A cancelled call inside reconcile is a failure of that key and not the end of a worker."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    recorder.answers["a"] = asyncio.CancelledError()
    async with _running(cluster, recorder, workers=1) as controller:
        controller.queue.add("a")

        assert await recorder.calls.get() == "a"
        assert await recorder.calls.get() == "a"


async def test_running_call_may_end_after_cancellation() -> None:
    """Cancellation waits for a running call within its grace, so that a cycle is seldom cut in two."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    recorder.gate.clear()
    async with _running(cluster, recorder, grace=HOUR) as controller:
        controller.queue.add("a")
        await recorder.calls.get()
        asyncio.get_running_loop().call_soon(recorder.gate.set)

    assert recorder.turns.get_nowait().result == "done"


async def test_call_that_hangs_is_cut_after_its_grace() -> None:
    """A call that does not end cannot hold up the end of the process."""
    cluster, recorder = Changes(), Recorder()
    cluster.sync(CONFIG_MAP, POD)
    recorder.gate.clear()
    async with _running(cluster, recorder, grace=timedelta(0)) as controller:
        controller.queue.add("a")
        await recorder.calls.get()

    assert recorder.turns.empty()


async def test_one_json_line_per_turn(caplog: pytest.LogCaptureFixture) -> None:
    """The default log has key, duration and result in one line of JSON."""
    caplog.set_level(logging.INFO)
    cluster = Changes()
    cluster.sync(CONFIG_MAP)
    called = asyncio.Event()

    async def reconcile(key: tuple[str, str]) -> None:
        called.set()
        raise UnavailableError("apply Pod a/x: 503")

    watch: Watch[tuple[str, str]] = Watch(kind=CONFIG_MAP, key_of=lambda obj: ("default", obj["metadata"]["name"]))
    controller = Controller(cast("Cluster", cluster), [watch], reconcile)
    task = asyncio.create_task(controller.run())
    controller.queue.add(("default", "a"))
    await called.wait()
    task.cancel()
    await asyncio.wait({task})

    [record] = [each for each in caplog.records if "reconciled" in each.getMessage()]
    line = json.loads(record.getMessage())
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "reconciled",
        "key": "default/a",
        "result": "retry",
        "writes": 0,
        "again_after_s": 0.005,
        "error": "UnavailableError: apply Pod a/x: 503",
    }
    assert record.levelname == "WARNING"


async def test_store_keeps_what_the_watch_says() -> None:
    """The key comes from what is kept, and the rest of an object is not in memory."""
    cluster, recorder = Changes(), Recorder()
    watch = Watch(kind=CONFIG_MAP, key_of=_name, keep=lambda value: {"metadata": {"name": value["metadata"]["name"]}})
    controller = Controller(cast("Cluster", cluster), [watch], recorder.reconcile)
    running = asyncio.create_task(controller.run())
    cluster.of(CONFIG_MAP).put_nowait(Change("Added", {**_object("a"), "data": {"key": "value"}}))
    cluster.sync(CONFIG_MAP)

    assert await asyncio.wait_for(recorder.calls.get(), 5) == "a"
    assert list(controller.stores[CONFIG_MAP]) == [{"metadata": {"name": "a"}}]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
