"""
The embedded cluster's controllers: look at everything, decide, write; again whenever something changed.

Everything between two waits is synchronous, so no step ever sees half of another.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bertjob_api import cluster as api
from bertjob_api.cluster import Kind, Object, Ref
from bertjob_local.embedded import jobs, pods, rolling, services
from bertjob_local.embedded.lifecycle import remove, stored
from bertjob_local.embedded.objects import Objects, timestamp
from bertjob_local.embedded.placement import node_for
from bertjob_local.embedded.settings import Settings

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUSPICION = timedelta(seconds=1)
_WATCHED = (
    api.JOB,
    api.POD,
    api.NODE,
    api.DEPLOYMENT,
    api.INFERENCE_SERVICE,
    api.SERVICE,
    api.SERVING_RUNTIME,
    api.CLUSTER_SERVING_RUNTIME,
)


class Controllers:
    """Job, InferenceService, Deployment, scheduler and node lifecycle over one embedded cluster."""

    def __init__(self, objects: Objects, settings: Settings) -> None:
        self._objects = objects
        self._settings = settings
        self._failures: dict[str, jobs.Failures] = {}
        self._heartbeats: dict[str, tuple[str, float]] = {}
        """By node: its newest heartbeat, and the monotonic time in seconds at which it came."""
        self._suspected: dict[str, float] = {}
        """By silent node: the monotonic time in seconds at which its silence was noticed."""

    async def run(self) -> None:
        """Act until cancelled."""
        wake = asyncio.Event()
        ends = [self._objects.follow(kind, None, lambda *_: wake.set()) for kind in _WATCHED]
        try:
            while True:
                wake.clear()
                delay = self._act(datetime.now(UTC))
                if not wake.is_set():
                    await _wait(wake, delay)
                await asyncio.sleep(0)
        finally:
            for end in ends:
                end()

    def _act(self, now: datetime) -> timedelta | None:
        """Bring everything one step further; return when to look again if nothing changes."""
        delays: list[timedelta | None] = []
        for kind, step in self._steps():
            delays += [step(each, now) for each in self._objects.select(kind) if not _is_deleted(kind, each)]
        return min((each for each in delays if each is not None), default=None)

    def _steps(self) -> tuple[tuple[Kind, Callable[[Object, datetime], timedelta | None]], ...]:
        return (
            (api.NODE, self._node),
            (api.JOB, self._job),
            (api.INFERENCE_SERVICE, self._inference_service),
            (api.DEPLOYMENT, self._deployment),
            (api.POD, self._pod),
        )

    def _job(self, job: Object, now: datetime) -> timedelta | None:
        uid = job["metadata"]["uid"]
        failures = self._failures.get(uid, jobs.Failures())
        settings = self._settings
        step = jobs.next_step(job, self._pods_of(job), failures=failures, now=now, settings=settings)
        self._failures[uid] = step.failures
        for each in step.release:
            self._release(each)
        self._delete(step.delete)
        for index in step.create:
            self._create(_job_pod(job, index))
        self._set_status(job, step.status)
        return step.after

    def _inference_service(self, isvc: Object, now: datetime) -> None:
        runtime = self._runtime(isvc)
        for wanted in (services.deployment_of(isvc, runtime), services.service_of(isvc)):
            ref = api.ref_of(wanted)
            old = self._objects.get(ref)
            base = {"spec": {}, "metadata": {}} if old is None else old
            kept = {key: old["spec"][key] for key in ("clusterIP", "clusterIPs") if old and key in old["spec"]}
            metadata = {**base["metadata"], **wanted["metadata"]}
            stored(self._objects, ref, {**base, **wanted, "metadata": metadata, "spec": {**wanted["spec"], **kept}})
        deployment, service = (
            self._objects.get(Ref(kind, isvc["metadata"]["namespace"], wanted["metadata"]["name"]))
            for kind in (api.DEPLOYMENT, api.SERVICE)
        )
        assert deployment is not None, "the Deployment was just stored"
        assert service is not None, "the Service was just stored"
        self._set_status(isvc, services.status_of(isvc, deployment=deployment, service=service, now=timestamp(now)))

    def _deployment(self, deployment: Object, now: datetime) -> None:  # noqa: ARG002  # one signature for all
        roll = rolling.next_roll(deployment, self._pods_of(deployment))
        self._delete(roll.delete)
        namespace, name = deployment["metadata"]["namespace"], _account(deployment)
        account = self._objects.get(Ref(api.SERVICE_ACCOUNT, namespace, name))
        found = {each["metadata"]["name"]: each for each in self._objects.select(api.SECRET, namespace=namespace)}
        credentials = services.credentials_of(account, found)
        for _ in range(roll.create):
            self._create(services.pod_of(deployment, suffix=_suffix(), credentials=credentials))
        self._set_status(deployment, roll.status)

    def _pod(self, pod: Object, now: datetime) -> None:
        owner = pods.owner_uid(pod)
        tracked = pods.TRACKING in pod["metadata"].get("finalizers", ())
        if tracked and not any(job["metadata"]["uid"] == owner for job in self._objects.select(api.JOB)):
            self._release(pod)
        if "nodeName" in pod["spec"] or not pods.is_active(pod):
            return
        node = node_for(pod, nodes=self._objects.select(api.NODE), all_pods=self._objects.select(api.POD))
        fields = {"now": timestamp(now), "reason": "Scheduled", "message": ""}
        if node is None:
            fields |= {"reason": "Unschedulable", "message": "no Ready node takes this pod"}
        else:
            pod = stored(self._objects, api.ref_of(pod), {**pod, "spec": {**pod["spec"], "nodeName": node}})
        conditions = pods.with_condition(pod, "PodScheduled", "False" if node is None else "True", **fields)
        self._set_status(pod, {"phase": "Pending", **pod.get("status", {}), "conditions": conditions})

    def _node(self, node: Object, now: datetime) -> timedelta | None:
        """Mark a silent node as lost, later ask its pods to end; return when its silence would be too long."""
        name, ready = node["metadata"]["name"], pods.condition(node, "Ready")
        beat = ready.get("lastHeartbeatTime", "")
        known = self._heartbeats.get(name)
        if known is None or known[0] != beat:
            known = self._heartbeats[name] = (beat, time.monotonic())
        silence = timedelta(seconds=time.monotonic() - known[1])
        settings = self._settings
        if silence < settings.node_grace:
            self._suspected.pop(name, None)
            return settings.node_grace - silence
        # A process that was stopped for a while finds every node silent: its reports get a moment to come in first.
        suspected = self._suspected.setdefault(name, time.monotonic())
        if time.monotonic() - suspected < _SUSPICION.total_seconds():
            return _SUSPICION
        if ready.get("status") != "Unknown":
            fields = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
            conditions = pods.with_condition(node, "Ready", "Unknown", **fields, now=timestamp(now))
            conditions[-1]["lastHeartbeatTime"] = beat
            self._set_status(node, {**node.get("status", {}), "conditions": conditions})
            for each in self._pods_on(name):
                self._set_ready(each, "False", reason="NodeNotReady", now=timestamp(now))
        if silence < settings.node_grace + settings.evict_after:
            return settings.node_grace + settings.evict_after - silence
        for each in self._pods_on(name):
            self._evict(each, now)
        return None

    def _evict(self, pod: Object, now: datetime) -> None:
        fields = {"reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint"}
        conditions = pods.with_condition(pod, "DisruptionTarget", "True", **fields, now=timestamp(now))
        self._set_status(pod, {**pod.get("status", {}), "conditions": conditions})
        remove(self._objects, api.ref_of(pod))

    def _set_ready(self, pod: Object, status: str, *, reason: str, now: str) -> None:
        conditions = pods.with_condition(pod, "Ready", status, reason=reason, message="", now=now)
        self._set_status(pod, {**pod.get("status", {}), "conditions": conditions})

    def _pods_on(self, node: str) -> list[Object]:
        bound = [pod for pod in self._objects.select(api.POD) if pod["spec"].get("nodeName") == node]
        return [pod for pod in bound if pods.is_active(pod)]

    def _pods_of(self, owner: Object) -> list[Object]:
        uid, namespace = owner["metadata"]["uid"], owner["metadata"]["namespace"]
        return [pod for pod in self._objects.select(api.POD, namespace=namespace) if pods.owner_uid(pod) == uid]

    def _runtime(self, isvc: Object) -> Object | None:
        name = isvc["spec"]["predictor"]["model"].get("runtime", "")
        namespaced = self._objects.get(Ref(api.SERVING_RUNTIME, isvc["metadata"]["namespace"], name))
        return namespaced or self._objects.get(Ref(api.CLUSTER_SERVING_RUNTIME, "", name))

    def _create(self, pod: Object) -> None:
        stored(self._objects, api.ref_of(pod), {**pod, "status": {"phase": "Pending"}})

    def _release(self, pod: Object) -> None:
        """Take the Job's finalizer off a pod; whether it still exists afterwards depends on its deletion."""
        current = self._objects.get(api.ref_of(pod))
        if current is None:
            return
        kept = [each for each in current["metadata"].get("finalizers", ()) if each != pods.TRACKING]
        stored(self._objects, api.ref_of(pod), {**current, "metadata": {**current["metadata"], "finalizers": kept}})

    def _delete(self, doomed: tuple[Object, ...]) -> None:
        for pod in doomed:
            remove(self._objects, api.ref_of(pod))

    def _set_status(self, obj: Object, status: Object) -> None:
        current = self._objects.get(api.ref_of(obj))
        if current is not None:
            self._objects.put(api.ref_of(obj), {**current, "status": status})


def _is_deleted(kind: Kind, obj: Object) -> bool:
    return kind != api.POD and "deletionTimestamp" in obj["metadata"]


def _account(deployment: Object) -> str:
    return str(deployment["spec"]["template"]["spec"].get("serviceAccountName", "default"))


def _suffix() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


def _job_pod(job: Object, index: int | None) -> Object:
    """Return a new pod of a Job. Source: Kubernetes documentation, "Indexed Job"."""
    name = job["metadata"]["name"]
    labels = {"batch.kubernetes.io/job-name": name, "job-name": name}
    labels["batch.kubernetes.io/controller-uid"] = job["metadata"]["uid"]
    stem = name if index is None else f"{name}-{index}"
    pod = pods.from_template(job, job["spec"]["template"], name=f"{stem}-{_suffix()}", labels=labels)
    pod["metadata"]["finalizers"] = [pods.TRACKING]
    if index is None:
        return pod
    pod["metadata"]["labels"][jobs.INDEX] = str(index)
    pod["metadata"].setdefault("annotations", {})[jobs.INDEX] = str(index)
    pod["spec"].setdefault("hostname", stem)
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{jobs.INDEX}']"}}
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
        env: list[dict[str, Any]] = container.setdefault("env", [])
        env.append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    return pod


async def _wait(event: asyncio.Event, delay: timedelta | None) -> None:
    try:
        async with asyncio.timeout(None if delay is None else max(0.0, delay.total_seconds())):
            await event.wait()
    except TimeoutError:
        return
