"""Ways that a job may take on the embedded cluster, and how to compare what is left at their ends."""

import asyncio
import json
import re
from typing import Any

from support import async_waiting
from support.embedding import SERVING, a_cluster, a_service
from support.fake_kubelet import EVALUATION, SERVED, FakeKubelet, fails
from support.jobs import a_job
from support.operating import gone

from bertjob_api import names
from bertjob_api.cluster import CONFIG_MAP, EVENT, INFERENCE_SERVICE, JOB, KINDS, POD, SERVICE, Object
from bertjob_local.embedded import EmbeddedCluster

JOB_OBJECT = a_job(training={"replicas": 2}, optimize={}, gate={}, serving=SERVING)

SCENARIOS: dict[str, dict[str, Any]] = {
    "new service": {},
    "live service": {"service": True},
    "rollback": {"service": True, "failing": {SERVED.uri}},
    "gate refuses": {
        "service": True,
        "script": {names.OPTIMIZE: [fails(42, "GateFailed", "no", evaluation=EVALUATION)]},
    },
    "a pod fails": {"script": {names.TRAIN: [fails(75, "StorageUnreachable", "timed out")]}},
}


async def begun(scenario: dict[str, Any]) -> tuple[EmbeddedCluster, FakeKubelet]:
    """Return a cluster and a kubelet as *scenario* wants them; neither runs yet."""
    cluster = await a_cluster()
    script = {key: list(ends) for key, ends in scenario.get("script", {}).items()}
    kubelet = FakeKubelet(cluster, script=script, failing_uris=set(scenario.get("failing", ())))
    if scenario.get("service"):
        await cluster.apply(a_service(), manager="owner")
    return cluster, kubelet


async def settled(cluster: EmbeddedCluster) -> None:
    """Wait until the store of the ended job is gone, the last thing that an operator does, and the service is steady."""
    async with asyncio.timeout(10):
        await gone(cluster, SERVICE, names.store_name("sentiment"))
        await gone(cluster, POD, names.store_name("sentiment"))
        await async_waiting.until(lambda: _is_steady(cluster))


def _is_steady(cluster: EmbeddedCluster) -> bool:
    """Tell whether only pods with the service's own model are left; also when there is no service."""
    services = cluster.objects.select(INFERENCE_SERVICE)
    wanted = [each["spec"]["predictor"]["model"]["storageUri"] for each in services for _ in range(2)]
    pods = cluster.objects.select(POD, labels={"app": names.predictor_app("docs")})
    return [pod["metadata"]["annotations"][names.KSERVE_SOURCE_ANNOTATION] for pod in pods] == wanted


async def world(cluster: EmbeddedCluster, job: Object, kubelet: FakeKubelet) -> dict[str, Any]:
    """Return everything that stands and the job's status, without random names and times; events may be fewer."""
    kinds = [kind for kind in KINDS if kind != EVENT]
    found = [f"{kind.kind} {_plain(each)}" for kind in kinds for each in await cluster.list(kind)]
    services = await cluster.list(INFERENCE_SERVICE)
    history = await cluster.list(CONFIG_MAP, name=names.history_name("docs"))
    return {
        "objects": sorted(found),
        "uris": [each["spec"]["predictor"]["model"]["storageUri"] for each in services],
        "history": timeless([each["data"] for each in history]),
        "suspended": [each["spec"].get("suspend") for each in await cluster.list(JOB)],
        "started": dict(kubelet.started),
        "status": timeless(job["status"]),
    }


def _plain(value: Object) -> str:
    """Return the name without the random part of pods."""
    name = value["metadata"]["name"]
    return re.sub(r"-[a-z0-9]{5}$", "", name) if value["kind"] == "Pod" else str(name)


def timeless(value: Any) -> Any:
    """Return *value* without times, uids and the random parts of names."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "uid"}
    if isinstance(value, list):
        return [timeless(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")):
        return timeless(json.loads(value))
    value = re.sub(r"^node-[ab]$", "NODE", value)
    value = re.sub(r"127(\.\d+){3}", "ADDRESS", value)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", value)
    return re.sub(r"(sentiment-\w+(-\d)+|docs-predictor-\w+)-[a-z0-9]{5}\b", r"\1", text)
