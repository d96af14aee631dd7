"""How objects come and go: cluster IPs, grace, finalizers, owners."""

import ipaddress
import secrets
from datetime import UTC, datetime, timedelta

from bertjob_api.cluster import POD, SERVICE, Object, Ref
from bertjob_local.embedded.objects import Objects, timestamp

_SERVICE_NETWORK = ipaddress.ip_network("127.100.0.0/16")


def stored(objects: Objects, ref: Ref, obj: Object) -> Object:
    """Store *obj* and return it as it is then; one that only its finalizers kept goes with the last of them."""
    result = objects.put(ref, _with_cluster_ip(objects, obj) if ref.kind == SERVICE else obj)
    metadata = result["metadata"]
    if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
        remove(objects, ref, grace_seconds=metadata.get("deletionGracePeriodSeconds", 0))
    return result


def remove(objects: Objects, ref: Ref, *, grace_seconds: int | None = None) -> None:
    """Delete an object if it exists: a pod after its grace, one with finalizers when the last is gone."""
    current = objects.get(ref)
    if current is None:
        return
    grace = _grace(current, grace_seconds) if ref.kind == POD else 0
    if grace == 0 and not current["metadata"].get("finalizers"):
        _drop(objects, ref)
        return
    before = current["metadata"].get("deletionGracePeriodSeconds")
    if "deletionTimestamp" in current["metadata"] and (before is None or before <= grace):
        return
    moment = timestamp(datetime.now(UTC) + timedelta(seconds=grace))
    metadata = {**current["metadata"], "deletionTimestamp": moment, "deletionGracePeriodSeconds": grace}
    objects.put(ref, {**current, "metadata": metadata})


def _drop(objects: Objects, ref: Ref) -> None:
    uid = objects.drop(ref)["metadata"]["uid"]
    for child in objects.owned_by(uid):
        remove(objects, child)


def _grace(pod: Object, wanted: int | None) -> int:
    """Return the seconds that a pod has left; none when no kubelet has it or it has ended (as the API server does)."""
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if "nodeName" not in pod["spec"] or ended:
        return 0
    return pod["spec"].get("terminationGracePeriodSeconds", 30) if wanted is None else wanted


def _with_cluster_ip(objects: Objects, service: Object) -> Object:
    spec = service.get("spec", {})
    if spec.get("clusterIP") or spec.get("type") == "ExternalName":
        return service
    taken = {other.get("spec", {}).get("clusterIP") for other in objects.select(SERVICE)}
    while True:  # at random, so that two clusters on one machine do not meet
        address = str(_SERVICE_NETWORK[secrets.randbelow(_SERVICE_NETWORK.num_addresses - 512) + 256])
        if address not in taken:
            return {**service, "spec": {**spec, "clusterIP": address, "clusterIPs": [address]}}
