"""The operator brings jobs to their end on the embedded cluster, with pods that a fake kubelet ends."""

import pytest
from support.embedding import OLD_URI, SERVING, a_cluster, a_service, operated
from support.fake_kubelet import EVALUATION, MODEL, SERVED, End, FakeKubelet, fails
from support.jobs import a_job
from support.operating import SETTINGS, condition, gone, together, until
from support.wrapped import Wrapped

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, EVENT, INFERENCE_SERVICE, JOB, POD, SERVICE, Ref
from bertjob_api.parse import dump
from bertjob_operator.shell.operator import run

TRUE_AT_END = ("Accepted", "Trained", "Optimized", "GatePassed", "RolledOut", "Succeeded")


async def test_whole_way() -> None:
    """A job with every stage ends Succeeded: trained, optimized, served, proven, and recorded in the history."""
    wanted = a_job(training={"replicas": 2}, optimize={}, gate={}, serving=SERVING)
    async with operated() as (cluster, kubelet):
        await cluster.apply(wanted, manager="user")
        job = await until(cluster, wanted, "Succeeded", "Failed")

    status = job["status"]
    assert {kind: condition(job, kind)["status"] for kind in TRUE_AT_END} == dict.fromkeys(TRUE_AT_END, "True")
    assert status["artifacts"] == {"model": dump(MODEL), "optimized": dump(SERVED)}
    assert status["evaluation"] == dump(EVALUATION)
    assert (status["phase"], status["progress"], status["rollout"]["trafficPercent"]) == ("Succeeded", "100 %", 100)
    assert [entry["uri"] for entry in status["history"]] == [SERVED.uri]
    [service] = await cluster.list(INFERENCE_SERVICE, name="docs")
    assert service["spec"]["predictor"]["model"]["storageUri"] == SERVED.uri
    assert kubelet.started == {"preflight": 1, "store": 1, "train": 2, "optimize": 1, "predictor": 2}


@pytest.mark.parametrize(
    ("spec", "started"),
    [
        pytest.param({}, {"preflight": 1, "store": 1, "train": 1}, id="train only"),
        pytest.param({"optimize": {}}, {"preflight": 1, "store": 1, "train": 1, "optimize": 1}, id="train and INT8"),
        pytest.param(
            {"serving": SERVING},
            {"preflight": 1, "store": 1, "train": 1, "optimize": 1, "predictor": 2},
            id="train and serve FP32",
        ),
    ],
)
async def test_only_what_is_asked_for(spec: dict[str, object], started: dict[str, int]) -> None:
    """Stages that the spec does not name are not run, and the job succeeds without them."""
    async with operated() as (cluster, kubelet):
        await cluster.apply(a_job(**spec), manager="user")
        job = await until(cluster, a_job(), "Succeeded", "Failed")

        assert condition(job, "Succeeded")["status"] == "True"
        assert kubelet.started == started


async def test_nothing_of_training_is_left_running() -> None:
    """When a job has ended, store, Service and running pods are gone; Jobs and finished pods stay for their logs."""
    async with operated() as (cluster, _):
        await cluster.apply(a_job(training={"replicas": 2}), manager="user")
        await until(cluster, a_job(), "Succeeded")
        await gone(cluster, SERVICE, names.store_name("sentiment"))
        await gone(cluster, POD, names.store_name("sentiment"))

        assert len(await cluster.list(JOB)) == 2
        assert {pod["status"]["phase"] for pod in await cluster.list(POD)} == {"Succeeded"}


async def test_steady_state_writes_nothing() -> None:
    """A job that has ended is looked at again without a single write."""
    cluster = await a_cluster()
    wanted = a_job(training={"replicas": 2}, optimize={}, serving=SERVING)
    async with together(cluster.run(), FakeKubelet(cluster).run()):
        async with together(run(cluster, SETTINGS)):
            await cluster.apply(wanted, manager="user")
            await until(cluster, wanted, "Succeeded")
            await gone(cluster, SERVICE, names.store_name("sentiment"))
        counted = Wrapped(cluster)
        async with together(run(counted, SETTINGS)):
            await cluster.apply(a_job(training={"epochs": 9}) | {"metadata": {"name": "other"}}, manager="user")
            await until(cluster, {"metadata": {"namespace": "default", "name": "other"}}, "Succeeded", "Failed")

        assert [write for write in counted.writes if "sentiment" in write] == []


REFUSALS = [
    pytest.param(
        {names.PREFLIGHT: [fails(42, "DataUnreadable", "storage://data/train.jsonl:7: no key 'label'")]},
        ("Accepted", "DataUnreadable", "storage://data/train.jsonl:7: no key 'label'", "preflight", 42),
        id="preflight refuses the data",
    ),
    pytest.param(
        {names.TRAIN: [fails(42, "LossNotFinite", "the loss is nan at step 12; lower learningRate")]},
        ("Trained", "LossNotFinite", "the loss is nan at step 12; lower learningRate", "train", 42),
        id="training refuses",
    ),
    pytest.param(
        {names.OPTIMIZE: [fails(42, "GateFailed", "accuracy fell by 0.05, allowed are 0.02", evaluation=EVALUATION)]},
        ("GatePassed", "GateFailed", "accuracy fell by 0.05, allowed are 0.02", "optimize", 42),
        id="gate refuses",
    ),
    pytest.param(
        {names.OPTIMIZE: [fails(1, "OutOfMemory", "killed")] * 9},
        ("Optimized", "OutOfMemory", "killed", "optimize", 1),
        id="optimize fails every time",
    ),
]


@pytest.mark.parametrize(("script", "expected"), REFUSALS)
async def test_refusal_ends_the_job(script: dict[str, list[End]], expected: tuple[str, str, str, str, int]) -> None:
    """What trying again cannot mend fails the job, with the program's own words in condition and lastFailure."""
    kind, reason, message, component, code = expected
    async with operated(script={key: list(ends) for key, ends in script.items()}) as (cluster, _):
        await cluster.apply(a_service(), manager="owner")
        await cluster.apply(a_job(optimize={}, gate={}, serving=SERVING), manager="user")
        job = await until(cluster, a_job(), "Failed", "Succeeded")
        [service] = await cluster.list(INFERENCE_SERVICE, name="docs")

    assert (condition(job, "Failed")["status"], condition(job, "Failed")["reason"]) == ("True", reason)
    assert condition(job, kind)["status"] == "False"
    assert condition(job, kind)["message"] == condition(job, "Failed")["message"] == message
    failure = job["status"]["lastFailure"]
    assert (failure["phase"], failure["reason"], failure["exitCode"]) == (component, reason, code)
    assert failure["message"] == message
    assert failure["pod"].startswith(f"sentiment-{component}")
    assert service["spec"]["predictor"]["model"]["storageUri"] == OLD_URI


async def test_figures_of_a_refused_model_are_kept() -> None:
    """When the gate refuses, the measurements stay in the status, and the trained model's address too."""
    script = {names.OPTIMIZE: [fails(42, "GateFailed", "too slow", evaluation=EVALUATION)]}
    async with operated(script=script) as (cluster, _):
        await cluster.apply(a_job(optimize={}), manager="user")
        job = await until(cluster, a_job(), "Failed")

    assert job["status"]["evaluation"] == dump(EVALUATION)
    assert job["status"]["artifacts"] == {"model": dump(MODEL)}


async def test_live_service_gets_one_field() -> None:
    """Of an InferenceService that exists only storageUri is written: labels, replicas and the rest stay the owner's."""
    async with operated() as (cluster, _):
        before = await cluster.apply(a_service(), manager="owner")
        await cluster.apply(a_job(optimize={}, serving=SERVING), manager="user")
        await until(cluster, a_job(), "Succeeded")
        [after] = await cluster.list(INFERENCE_SERVICE, name="docs")

    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["spec"]["predictor"]["model"].pop("storageUri") == SERVED.uri
    before["spec"]["predictor"]["model"].pop("storageUri")
    assert after["spec"] == before["spec"]


async def test_crashing_model_is_rolled_back() -> None:
    """A new model whose pods crash is taken back: the old one is served, the job fails, the history says nothing new."""
    async with operated() as (cluster, kubelet):
        await cluster.apply(a_service(), manager="owner")
        kubelet.failing_uris.add(SERVED.uri)
        await cluster.apply(a_job(optimize={}, serving=SERVING), manager="user")
        job = await until(cluster, a_job(), "Failed", "Succeeded")
        [service] = await cluster.list(INFERENCE_SERVICE, name="docs")

    assert condition(job, "Failed")["reason"] == "RolloutFailed"
    assert condition(job, "RolledOut")["status"] == "False"
    assert OLD_URI in condition(job, "Failed")["message"]
    assert service["spec"]["predictor"]["model"]["storageUri"] == OLD_URI
    assert job["status"]["rollout"]["verdict"] == "Failed"
    assert job["status"].get("history", []) == []


async def test_events_tell_the_way() -> None:
    """Each step leaves one event, by a name that does not change when it is written twice."""
    async with operated() as (cluster, _):
        await cluster.apply(a_job(), manager="user")
        await until(cluster, a_job(), "Succeeded")
        events = await cluster.list(EVENT)

    reasons = {event["reason"] for event in events}
    assert {"PreflightPassed", "TrainingCompleted"} <= reasons
    assert all(event["regarding"]["name"] == "sentiment" for event in events)


async def test_children_go_with_the_job_and_the_service_stays() -> None:
    """Deleting a BertJob takes its Jobs and pods along, and leaves the InferenceService alone."""
    async with operated() as (cluster, _):
        await cluster.apply(a_job(optimize={}, serving=SERVING), manager="user")
        await until(cluster, a_job(), "Succeeded")
        await cluster.delete(Ref(BERT_JOB, "default", "sentiment"))

        assert await cluster.list(JOB) == []
        assert len(await cluster.list(INFERENCE_SERVICE)) == 1
