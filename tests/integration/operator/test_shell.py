"""The operator's effects: order, settings, and what is refused."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from support.embedding import SERVING, a_cluster, operated
from support.fake_kubelet import EVALUATION, SERVED, End, FakeKubelet, fails
from support.jobs import a_job
from support.operating import SETTINGS, condition, found, together, until
from support.wrapped import Wrapped

from bertjob_api import names
from bertjob_api.cluster import (
    BERT_JOB,
    EVENT,
    JOB,
    Change,
    Cluster,
    InvalidError,
    Kind,
    Object,
    Ref,
    UnavailableError,
    ref_of,
)
from bertjob_cli.view import screen
from bertjob_local.embedded import merge
from bertjob_operator.runtime.controller import Reconciled
from bertjob_operator.runtime.store import Store
from bertjob_operator.shell import freshness, progress
from bertjob_operator.shell.freshness import Freshness
from bertjob_operator.shell.operator import Operator, run
from bertjob_operator.shell.settings import Settings, from_env


def test_settings_come_from_the_environment() -> None:
    """Every variable reaches its field; on a cluster local files are off unless asked for."""
    found = from_env(
        {
            "BERTJOB_OPERATOR_TRAINER_IMAGE": "registry/trainer:1",
            "BERTJOB_OPERATOR_NODE_GRACE_SECONDS": "7.5",
            "BERTJOB_OPERATOR_NAMESPACE": "team",
            "BERTJOB_OPERATOR_WORKERS": "2",
            "POD_NAME": "operator-abc",
        }
    )

    assert found.platform.trainer_image == "registry/trainer:1"
    assert found.platform.node_grace == timedelta(seconds=7.5)
    assert (found.namespace, found.workers, found.instance) == ("team", 2, "operator-abc")
    assert (found.local_files, Settings().local_files) == (False, True)


@pytest.mark.parametrize("text", ["soon", "0", "-1"])
def test_bad_setting_names_its_variable(text: str) -> None:
    """A number that is none is refused with the variable's name."""
    with pytest.raises(ValueError, match="BERTJOB_OPERATOR_WORKERS: got"):
        from_env({"BERTJOB_OPERATOR_WORKERS": text})


class Refusing(Wrapped):
    """A cluster that refuses to store some objects."""

    error: Exception = InvalidError("spec.template: bad")
    kind = JOB

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """See ``Cluster.apply``."""
        if ref_of(obj).kind == self.kind:
            raise self.error
        return await super().apply(obj, manager=manager)


async def test_child_that_the_server_refuses_fails_the_job() -> None:
    """Trying again would give the same, so the job fails with the server's words."""
    cluster = await a_cluster()
    async with together(cluster.run(), run(Refusing(cluster), SETTINGS)):
        await cluster.apply(a_job(), manager="user")
        job = await until(cluster, a_job(), "Failed")

    assert condition(job, "Failed")["reason"] == "ChildRefused"
    assert condition(job, "Failed")["message"] == "Job default/sentiment-preflight was refused: spec.template: bad"


async def test_lost_events_do_not_stop_a_job() -> None:
    """Events are for people: a job succeeds when none can be written."""
    cluster = await a_cluster()
    refusing = Refusing(cluster)
    refusing.kind, refusing.error = EVENT, UnavailableError("try again")
    async with together(cluster.run(), FakeKubelet(cluster).run(), run(refusing, SETTINGS)):
        await cluster.apply(a_job(), manager="user")
        job = await until(cluster, a_job(), "Succeeded", "Failed")

    assert condition(job, "Succeeded")["status"] == "True"


async def test_order_of_effects() -> None:
    """Children come before the status that tells of them, and events after it."""
    cluster = await a_cluster()
    counted = Wrapped(cluster)
    async with together(cluster.run(), FakeKubelet(cluster).run(), run(counted, SETTINGS)):
        await cluster.apply(a_job(), manager="user")
        await until(cluster, a_job(), "Succeeded")

    assert counted.writes[:5] == [
        "apply ServiceAccount default/sentiment-worker",
        "apply ConfigMap default/sentiment-spec",
        "apply Job default/sentiment-preflight",
        "status BertJob default/sentiment",
        "apply Service default/sentiment-store",
    ]
    assert counted.writes.index("apply Job default/sentiment-train-0") < len(counted.writes) - 2


class Lenient(Wrapped):
    """A cluster whose admission knows another version of the API, and lets everything through."""

    async def patch_status(self, ref: Ref, status: Mapping[str, Any], **identity: Any) -> Object:  # noqa: ARG002  # the protocol
        """See ``Cluster.patch_status``."""
        [old] = await self.list(ref.kind, name=ref.name)
        return self.cluster.objects.put(ref, {**old, "status": merge.merge_patched(old.get("status"), status)})


async def test_spec_that_admission_let_through_is_refused() -> None:
    """A spec that only a newer or no admission accepted fails the job, with every mistake in the condition."""
    cluster = await a_cluster()
    bad = a_job(training={"batchSize": 30})
    bad["spec"]["optmize"] = {}
    stored = {**bad, "metadata": {**bad["metadata"], "uid": "u", "generation": 1, "resourceVersion": "1"}}
    async with together(run(Lenient(cluster), SETTINGS)):
        cluster.objects.put(Ref(BERT_JOB, "default", "sentiment"), stored)
        job = await found(cluster, BERT_JOB, lambda each: condition(each, "Failed").get("status") == "True")

    assert (condition(job, "Accepted")["status"], condition(job, "Failed")["reason"]) == ("False", "InvalidSpec")
    assert condition(job, "Accepted")["message"] == "spec.optmize: unknown field; did you mean optimize?"
    assert await cluster.list(JOB) == []


def _versioned(uid: str, version: str, **metadata: Any) -> Object:
    head = {"name": "sentiment-train-0", "namespace": "default", "uid": uid, "resourceVersion": version, **metadata}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": head}


def test_cache_behind_our_own_write_is_not_believed() -> None:
    """Until the version that we wrote has come back, an older one is no ground for a plan; another uid is."""
    store = Store()
    fresh = Freshness({JOB: store})
    fresh.wrote("key", _versioned("a", "12"))

    assert not fresh.is_caught_up("key")
    store.feed(Change("Added", _versioned("a", "9")))
    assert not fresh.is_caught_up("key")
    assert fresh.is_caught_up("other")
    store.feed(Change("Modified", _versioned("a", "12")))
    assert fresh.is_caught_up("key")
    fresh.wrote("key", _versioned("a", "13"))
    store.feed(Change("Modified", _versioned("b", "5")))
    assert fresh.is_caught_up("key")


def test_cache_that_shows_what_we_deleted_is_not_believed() -> None:
    """What we deleted must vanish, begin to go, or be made anew before the next plan."""
    store = Store()
    fresh, ref = Freshness({JOB: store}), Ref(JOB, "default", "sentiment-train-0")
    for change in (
        Change("Modified", _versioned("a", "9", deletionTimestamp="2026-05-04T12:00:00Z")),
        Change("Modified", _versioned("b", "9")),
        Change("Deleted", _versioned("a", "9")),
    ):
        store.feed(Change("Added", _versioned("a", "8")))
        fresh.deleted("key", ref, uid="a")
        assert not fresh.is_caught_up("key")
        store.feed(change)
        assert fresh.is_caught_up("key")


class Late(Wrapped):
    """A cluster whose watch of Jobs is behind: it tells of the training Job only once it is ``released``."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.released = asyncio.Event()

    async def changes(self, kind: Kind, **selection: Any) -> AsyncIterator[Change]:
        """See ``Cluster.changes``."""
        async for change in super().changes(kind, **selection):
            if kind == JOB and change.type != "Synced" and "-train-" in change.object["metadata"]["name"]:
                await self.released.wait()
            yield change


async def test_late_watch_costs_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a watch has not told of what we made, the operator looks again; it neither asks for it nor makes it anew."""
    monkeypatch.setattr(freshness, "PATIENCE_S", 3600.0)
    cluster, looked = await a_cluster(), asyncio.Semaphore(0)
    late, kubelet = Late(cluster), FakeKubelet(cluster)

    def observe(_: Reconciled) -> None:
        looked.release()

    async with together(cluster.run(), kubelet.run(), Operator(late, SETTINGS, observer=observe).run()):
        await cluster.apply(a_job(), manager="user")
        await found(cluster, JOB, lambda each: each["metadata"]["name"] == "sentiment-train-0")
        await found(cluster, BERT_JOB, lambda each: each["status"].get("phase") == "Training")
        before = list(late.writes)
        while not looked.locked():
            await looked.acquire()
        for _ in range(3):
            await looked.acquire()
        assert (late.num_lists, late.writes) == (0, before)
        late.released.set()
        await until(cluster, a_job(), "Succeeded")

    assert (late.num_lists, late.writes.count("apply Job default/sentiment-train-0")) == (0, 1)


def test_write_whose_object_is_not_cached_is_not_waited_for() -> None:
    """Kinds without a cache never come back by a watch."""
    fresh = Freshness({})
    fresh.wrote("key", _versioned("a", "12"))
    fresh.deleted("key", Ref(JOB, "default", "sentiment-train-0"), uid="a")

    assert fresh.is_caught_up("key")


ANSWER = {"rank": 0, "worldSize": 2, "step": 57, "total": 100, "loss": 0.5, "restarts": 1}


@pytest.fixture
async def supervisor() -> AsyncIterator[dict[str, Any]]:
    """Give what a supervisor on a loopback address answers; a test may change it."""
    own = os.getpid()  # the port is fixed, so each process that runs tests needs an address of its own
    answer: dict[str, Any] = {
        "status": 200,
        "json": ANSWER,
        "ip": f"127.211.{own >> 8 & 255}.{own & 255 or 1}",
        "asked": 0,
    }

    async def progressing(_: web.Request) -> web.Response:
        answer["asked"] += 1
        more = {"step": answer["asked"]} if answer.get("moves") else {}
        return web.json_response({**answer["json"], **more}, status=answer["status"])

    app = web.Application()
    app.router.add_get("/progress", progressing)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, answer["ip"], names.PROGRESS_PORT).start()
    yield answer
    await runner.cleanup()


async def test_progress_reaches_the_status(supervisor: dict[str, Any]) -> None:
    """What rank 0 reports stands in the status, with the percentage for people."""
    quick = replace(SETTINGS, progress_interval=timedelta(milliseconds=20))
    cluster = await a_cluster()
    kubelet = FakeKubelet(cluster, script={names.TRAIN: [End(holds=True)]}, ip=supervisor["ip"])
    async with together(cluster.run(), kubelet.run(), run(cluster, quick)):
        await cluster.apply(a_job(), manager="user")
        job = await found(cluster, BERT_JOB, lambda each: each.get("status", {}).get("progress") == "57 %")

    training = job["status"]["training"]
    assert (training["step"], training["total"], training["loss"], training["restarts"]) == (57, 100, 0.5, 1)


async def test_progress_is_written_once_a_round(supervisor: dict[str, Any]) -> None:
    """However fast training is, there is at most one write of the status for each question that was asked."""
    supervisor["moves"] = True
    quick = replace(SETTINGS, progress_interval=timedelta(milliseconds=50))
    cluster = await a_cluster()
    counted = Wrapped(cluster)
    kubelet = FakeKubelet(cluster, script={names.TRAIN: [End(holds=True)]}, ip=supervisor["ip"])
    async with together(cluster.run(), kubelet.run(), run(counted, quick)):
        await cluster.apply(a_job(), manager="user")
        await until(cluster, a_job(), "Training")
        before, asked = len(counted.writes), supervisor["asked"]
        await found(cluster, BERT_JOB, lambda each: (each["status"]["training"].get("step") or 0) >= asked + 10)
        writes = counted.writes[before:]

    assert set(writes) == {"status BertJob default/sentiment"}
    assert 5 <= len(writes) <= supervisor["asked"] - asked + 1


async def test_standstill_is_told(supervisor: dict[str, Any]) -> None:
    """A step that does not move any more is named in Stalled with its pod; one that moves again takes that back."""
    quick = replace(
        SETTINGS,
        progress_interval=timedelta(milliseconds=20),
        platform=replace(SETTINGS.platform, stall_after=timedelta(milliseconds=300)),
    )
    cluster = await a_cluster()
    kubelet = FakeKubelet(cluster, script={names.TRAIN: [End(holds=True)]}, ip=supervisor["ip"])
    async with together(cluster.run(), kubelet.run(), run(cluster, quick)):
        await cluster.apply(a_job(), manager="user")
        stalled = await until(cluster, a_job(), "Stalled")
        supervisor["json"] = {**ANSWER, "step": 58}
        await found(cluster, BERT_JOB, lambda each: condition(each, "Stalled")["status"] == "False")

    why = condition(stalled, "Stalled")
    assert why["reason"] == "NoProgress"
    assert why["message"].startswith("no step after 57 for more than 0 s (pod sentiment-train-0-0-")


async def test_optimize_tells_what_it_does(supervisor: dict[str, Any]) -> None:
    """What the optimize pod reports stands in the condition, with the percentage for people."""
    supervisor["json"] = {"step": 30, "total": 120, "activity": "candidate 1 of 3, fp32: 30 of 40 texts answered"}
    quick = replace(SETTINGS, progress_interval=timedelta(milliseconds=20))
    cluster = await a_cluster()
    kubelet = FakeKubelet(cluster, script={names.OPTIMIZE: [End(holds=True)]}, ip=supervisor["ip"])
    async with together(cluster.run(), kubelet.run(), run(cluster, quick)):
        await cluster.apply(a_job(optimize={}), manager="user")
        job = await found(cluster, BERT_JOB, lambda each: each.get("status", {}).get("progress") == "25 %")

    assert job["status"]["phase"] == "Optimizing"
    assert condition(job, "Optimized")["message"] == supervisor["json"]["activity"]
    assert f"{'#' * 6}{'.' * 18}] candidate 1 of 3" in "\n".join(screen(job))


@pytest.mark.parametrize("change", [{"status": 503}, {"json": {"rank": "zero"}}, {"json": [1]}])
async def test_foreign_answer_is_no_progress(supervisor: dict[str, Any], change: dict[str, Any]) -> None:
    """Whatever is not a supervisor's answer counts as silence."""
    supervisor.update(change)
    pod = {"status": {"podIP": supervisor["ip"]}}
    async with aiohttp.ClientSession() as session:
        assert await progress.fetch(progress.address(pod), session=session) is None


async def test_answers_of_vanished_pods_are_forgotten(supervisor: dict[str, Any]) -> None:
    """The board holds as many answers as there are pods."""
    pods, changed = Store(), asyncio.Event()
    labels = {names.COMPONENT_LABEL: names.TRAIN}
    pod = {
        "metadata": {"name": "p", "namespace": "default", "uid": "u", "labels": labels},
        "status": {"phase": "Running", "podIP": supervisor["ip"]},
    }
    pods.feed(Change("Added", pod))
    board = progress.Board(pods, changed=lambda _: changed.set(), interval=timedelta(milliseconds=5))
    async with together(board.run()), asyncio.timeout(10):
        await changed.wait()
        assert board.answers["u"].step == 57
        pods.feed(Change("Deleted", pod))
        while board.answers:  # noqa: ASYNC110  # the board has no event for it
            await asyncio.sleep(0.005)


ENDS = st.sampled_from(
    [
        End(75),
        End(1),
        End(143),
        End(137, conditions=({"type": "DisruptionTarget", "status": "True"},)),
        fails(42, "BadInput", "no"),
        fails(42, "GateFailed", "slow", evaluation=EVALUATION),
    ]
)
SCRIPTS = st.fixed_dictionaries(
    {}, optional={key: st.lists(ENDS, max_size=3) for key in (names.PREFLIGHT, names.TRAIN, names.OPTIMIZE)}
)
SPECS = st.sampled_from(
    [
        {"training": {"replicas": 2}},
        {"training": {"replicas": 3, "elastic": {"min": 1, "max": 3}}, "optimize": {}},
        {"training": {"replicas": 2}, "optimize": {}, "serving": SERVING},
        {"serving": SERVING, "backoff": {"limit": 1}},
    ]
)


async def _converges(script: dict[str, list[End]], spec: dict[str, Any], *, crashing: bool) -> None:
    uris = {SERVED.uri} if crashing else set()
    async with operated(script={key: list(ends) for key, ends in script.items()}, failing_uris=uris) as (cluster, _):
        await cluster.apply(a_job(**spec), manager="user")
        job = await until(cluster, a_job(), "Succeeded", "Failed")
    counted = Wrapped(cluster)
    other = a_job()
    other["metadata"]["name"] = "other"
    async with together(cluster.run(), FakeKubelet(cluster).run(), run(counted, SETTINGS)):
        await cluster.apply(other, manager="user")
        await until(cluster, other, "Succeeded", "Failed")
        [last] = await cluster.list(BERT_JOB, name="sentiment")

    verdicts = [condition(job, kind)["status"] for kind in ("Succeeded", "Failed")]
    assert sorted(verdicts) == ["False", "True"]
    assert {key: last["status"][key] for key in ("conditions", "artifacts") if key in last["status"]} == {
        key: job["status"][key] for key in ("conditions", "artifacts") if key in job["status"]
    }
    assert [write for write in counted.writes if "status BertJob default/sentiment" in write] == []


@settings(max_examples=25, deadline=None)
@given(SCRIPTS, SPECS, st.booleans())
def test_every_job_comes_to_an_end(script: dict[str, list[End]], spec: dict[str, Any], crashing: bool) -> None:
    """Whatever its pods do, a job gets exactly one verdict, and a fresh operator leaves it as it is."""
    asyncio.run(_converges(script, spec, crashing=crashing))
