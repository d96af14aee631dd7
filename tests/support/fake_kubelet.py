"""
A kubelet that runs nothing: it sets the statuses that pods would have, by a script.

Works on any ``Cluster``, so the embedded one and a real API server see the same pods.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bertjob_api import names, termination
from bertjob_api.cluster import NODE, POD, Cluster, ClusterError, Object, Ref, ref_of
from bertjob_api.status import Artifact, Evaluation, Scores
from bertjob_api.termination import Failure, Result

MODEL = Artifact(uri="s3://bucket/team/models/" + "a" * 64, sha256="a" * 64, size_bytes=90_000_000)
SERVED = Artifact(uri="s3://bucket/team/models/" + "b" * 64, sha256="b" * 64, size_bytes=23_000_000)
EVALUATION = Evaluation(
    fp32=Scores(metric="accuracy", value=0.91, latency_p50_ms=8.0),
    int8=Scores(metric="accuracy", value=0.905, latency_p50_ms=3.0),
    method="static",
    verdict="Passed",
)


@dataclass(frozen=True)
class End:
    """How a pod ends."""

    code: int = 0
    result: Result | None = None
    holds: bool = False
    """It runs until somebody else ends it."""
    conditions: tuple[Mapping[str, Any], ...] = ()


def fails(code: int, reason: str, message: str, *, evaluation: Evaluation | None = None) -> End:
    """Return an end with a failure that the program explained."""
    return End(code, Result(failure=Failure(reason=reason, message=message), evaluation=evaluation))


GOOD = {
    names.PREFLIGHT: End(0, Result()),
    names.TRAIN: End(0, Result(artifact=MODEL, steps=120, trained_steps=120, metrics={"accuracy": 0.91})),
    names.OPTIMIZE: End(0, Result(artifact=SERVED, evaluation=EVALUATION)),
    names.STORE: End(holds=True),
}


@dataclass
class FakeKubelet:
    """Runs until cancelled; ``script`` gives the ends of a component's pods in order, the good one afterwards."""

    cluster: Cluster
    script: dict[str, list[End]] = field(default_factory=dict)
    binds_to: str | None = None
    """Real API servers: put new pods on this node, in place of a scheduler; None: they run on no node."""
    failing_uris: set[str] = field(default_factory=set)
    """Models whose predictor pods crash again and again."""
    crashes: int = 5
    """Restarts of such a pod so far."""
    ip: str | None = None
    """Address of every pod; None: each has its own."""
    stuck: bool = False
    """Training pods do not come to run."""
    namespace: str | None = None
    """Only pods of this namespace; None: all."""
    started: Counter[str] = field(default_factory=Counter)
    """Pods started, by component."""
    _ends: dict[str, End] = field(default_factory=dict)

    async def run(self) -> None:
        """Act on every pod that appears or is deleted."""
        async for change in self.cluster.changes(POD, namespace=self.namespace):
            if change.type in ("Added", "Modified"):
                with suppress(ClusterError):  # gone, or changed meanwhile: the next change tells
                    await self._act(change.object)

    async def look_again(self, *, seconds: float = 2) -> None:
        """Act on every pod again and again: an API server that was away has not taken every status."""
        pending: set[str] = set()
        while True:
            await asyncio.sleep(seconds)
            with suppress(ClusterError):
                pods = await self.cluster.list(POD, namespace=self.namespace)
                stuck = {pod["metadata"]["uid"] for pod in pods if pod["status"].get("phase") == "Pending"}
                for pod in pods:
                    with suppress(ClusterError):
                        await self._act_again(pod, is_stuck=pod["metadata"]["uid"] in stuck & pending)
                pending = stuck

    async def _act_again(self, pod: Object, *, is_stuck: bool) -> None:
        """Act on a pod; one that was started, and stays pending, has lost the status that said so."""
        if is_stuck and pod["metadata"]["uid"] in self._ends and "deletionTimestamp" not in pod["metadata"]:
            await self._set_running(pod)
        else:
            await self._act(pod)

    async def release(self, component: str) -> None:
        """Let the pods of *component* that hold come to their good end."""
        for pod in await self.cluster.list(POD, labels={names.COMPONENT_LABEL: component}):
            if pod["metadata"]["uid"] in self._ends:
                self._ends[pod["metadata"]["uid"]] = GOOD[component]
                await self._act(pod)

    async def _act(self, pod: Object) -> None:
        ref, phase = ref_of(pod), pod.get("status", {}).get("phase", "Pending")
        if "deletionTimestamp" in pod["metadata"]:
            if phase not in ("Succeeded", "Failed"):
                await self._set(pod, {"phase": "Failed", **_containers(pod, _terminated(143, ""))})
            await self.cluster.delete(ref, uid=pod["metadata"]["uid"], grace_seconds=0)
        elif phase == "Pending":
            await self._start(pod)
        elif phase == "Running":
            await self._end(pod)

    async def _start(self, pod: Object) -> None:
        component = pod["metadata"].get("labels", {}).get(names.COMPONENT_LABEL, "predictor")
        uid = pod["metadata"]["uid"]
        if uid in self._ends or (self.stuck and component == names.TRAIN) or pod["spec"].get("schedulingGates"):
            return
        if self.binds_to is not None:
            await self._bind(pod, self.binds_to)
        self.started[component] += 1
        planned = self.script.get(component)
        self._ends[uid] = planned.pop(0) if planned else GOOD.get(component, End(holds=True))
        await self._set_running(pod)

    async def _set_running(self, pod: Object) -> None:
        ip = self.ip or f"127.1.{len(self._ends) // 250}.{len(self._ends) % 250 + 1}"
        state: Object = {"running": {"startedAt": _now()}}
        restarts = 0
        if pod["metadata"].get("annotations", {}).get(names.KSERVE_SOURCE_ANNOTATION) in self.failing_uris:
            state, restarts = {"waiting": {"reason": "CrashLoopBackOff"}}, self.crashes
        ready = "True" if "running" in state else "False"
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": _now(),
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": _now()}],
            **_containers(pod, state, restarts=restarts),
        }
        await self._set(pod, status)

    async def _bind(self, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
        await self.cluster.request("POST", path, body=body)  # type: ignore[attr-defined]  # a real one

    async def _end(self, pod: Object) -> None:
        end = self._ends.get(pod["metadata"]["uid"])
        if end is None or end.holds:
            return
        message = termination.encode(end.result) if end.result is not None else ""
        conditions = [*pod["status"].get("conditions", ()), *end.conditions]
        phase = "Succeeded" if end.code == 0 else "Failed"
        status = {"phase": phase, "conditions": conditions, **_containers(pod, _terminated(end.code, message))}
        await self._set(pod, status)

    async def _set(self, pod: Object, status: Object) -> None:
        await self.cluster.patch_status(ref_of(pod), status, uid=pod["metadata"]["uid"])


def _terminated(code: int, message: str) -> Object:
    reason = "Completed" if code == 0 else "Error"
    body = {"exitCode": code, "reason": reason, "message": message, "startedAt": _now(), "finishedAt": _now()}
    return {"terminated": body}


def _containers(pod: Object, state: Object, *, restarts: int = 0) -> Object:
    name, image = pod["spec"]["containers"][0]["name"], pod["spec"]["containers"][0].get("image", "x")
    ready = "running" in state
    status = {"name": name, "image": image, "imageID": "", "ready": ready, "restartCount": restarts, "state": state}
    return {"containerStatuses": [status]}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def add_node(cluster: Cluster, name: str, *, ready: bool = True) -> None:
    """Register a node, or change its readiness."""
    await cluster.apply(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}, manager="fake-kubelet"
    )
    condition = {"type": "Ready", "status": "True" if ready else "Unknown", "lastTransitionTime": _now()}
    beat = {"lastHeartbeatTime": _now()}
    await cluster.patch_status(Ref(NODE, "", name), {"conditions": [{**condition, **beat}]})
