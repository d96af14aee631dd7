"""The nodes that the process kubelet plays: registration, heartbeats, Leases."""

import asyncio
import logging
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bertjob_api import cluster as api
from bertjob_api.cluster import Cluster, ClusterError, Object, Ref
from bertjob_local.kubelet.settings import Settings
from bertjob_local.kubelet.status import rfc3339

MANAGER = "bertjob-kubelet"
_PODS = 110
"""Pods that a node takes. Source: Kubernetes documentation, "Considerations for large clusters"."""
_LEASE_NAMESPACE = "kube-node-lease"
_LEASE_S = 40

_log = logging.getLogger(__name__)


def address_of(number: int) -> str:
    """Return the address of the node with this number, 0-based: 127.0.0.10 and up."""
    assert 0 <= number < 240, f"node number {number} has no address in 127.0.0.0/24"
    return f"127.0.0.{10 + number}"


async def keep_alive(
    cluster: Cluster, name: str, *, address: str, log_ports: Mapping[str, int], settings: Settings
) -> None:
    """
    Register a node and report it as Ready until cancelled.

    Args:
        cluster: where.
        name: the node.
        address: its own.
        log_ports: port of the log server by node; without one ``kubectl logs`` does not work.
        settings: how often.

    """
    is_known = False
    since = datetime.now(UTC)
    while True:
        try:
            if not is_known:
                await cluster.apply(_node(name), manager=MANAGER)
                is_known = True
            await cluster.patch_status(Ref(api.NODE, "", name), _status(name, address, log_ports.get(name), since))
            if settings.leases:
                await cluster.apply(_lease(name), manager=MANAGER)
        except ClusterError as error:
            is_known = False
            _log.warning("Node %s: not reported, again in %s: %s", name, settings.heartbeat, error)
        await asyncio.sleep(settings.heartbeat.total_seconds())


def _node(name: str) -> Object:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def _status(name: str, address: str, log_port: int | None, since: datetime) -> Object:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "runs pods as local processes",
        "lastHeartbeatTime": rfc3339(datetime.now(UTC)),
        "lastTransitionTime": rfc3339(since),
    }
    # Every node is this one machine, whose processors its pods share without limits.
    capacity = {"cpu": str(max(16, os.cpu_count() or 1)), "memory": f"{_memory_kib()}Ki", "pods": str(_PODS)}
    status: Object = {
        "conditions": [ready],
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "capacity": capacity,
        "allocatable": capacity,
    }
    if log_port is not None:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": log_port}}
    return status


def _lease(name: str) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": api.LEASE.api_version,
        "kind": api.LEASE.kind,
        "metadata": {"name": name, "namespace": _LEASE_NAMESPACE},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": _LEASE_S, "renewTime": now},
    }


def _memory_kib() -> int:
    """Return this machine's memory in KiB. Source: proc(5), meminfo."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    return int(line.split()[1])
