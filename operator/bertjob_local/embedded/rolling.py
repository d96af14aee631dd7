"""How a Deployment goes from one template to the next: one pod more, none less. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bertjob_api.cluster import Object
from bertjob_local.embedded import pods as pod
from bertjob_local.embedded.services import HASH, template_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """What to do with one Deployment now."""

    create: int
    delete: tuple[Object, ...]
    status: Object


def next_roll(deployment: Object, pods: Sequence[Object]) -> Roll:
    """
    Return the next step of a rolling update with ``maxSurge: 1, maxUnavailable: 0``.

    An old pod goes only when as many pods as wanted are ready without it, or when it is not ready itself.
    """
    alive = [each for each in pods if pod.is_active(each)]
    wanted = deployment["spec"]["replicas"]
    new = [each for each in alive if each["metadata"]["labels"].get(HASH) == template_hash(deployment)]
    old = [each for each in alive if each not in new]
    ready = [each for each in alive if pod.has_condition(each, "Ready")]
    idle = [each for each in old if each not in ready]
    spare = max(0, len(ready) - wanted)
    surplus = sorted(new, key=lambda each: (each in ready, each["metadata"]["creationTimestamp"]))
    doomed = [*idle, *[each for each in old if each in ready][:spare], *surplus[: max(0, len(new) - wanted)]]
    room = wanted + (1 if old else 0) - (len(alive) - len(doomed))
    create = max(0, min(wanted - len(new), room))
    terminating = sum(pod.is_terminating(each) for each in pods)
    return Roll(create=create, delete=tuple(doomed), status=_status(deployment, (new, old, ready), terminating))


def _status(deployment: Object, found: tuple[list[Object], list[Object], list[Object]], terminating: int) -> Object:
    new, old, ready = found
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": len(new) + len(old),
        "updatedReplicas": len(new),
        "readyReplicas": len(ready),
        "availableReplicas": len(ready),
        "unavailableReplicas": max(0, deployment["spec"]["replicas"] - len(ready)),
        "terminatingReplicas": terminating,
    }
