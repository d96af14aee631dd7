"""How many threads a worker computes with."""

import math
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bertjob_api.job import BertJob

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""The same in all containers of a machine (Source: Linux, random(4))."""


def wanted(job: BertJob, *, local_world: int, neighbours: int, env: Mapping[str, str]) -> int:
    """
    Return the threads of one worker, at least 1: the smallest of what pod, machine and environment allow.

    Threads beyond the pod's quota, or beyond the machine's CPUs, make every one of them wait: two on one CPU are slower than
    one by a factor.

    Args:
        job: its pods' CPU limit, or else request, is shared by the workers of a pod.
        local_world: workers of this pod.
        neighbours: workers of this job on this machine; pods without limits share its CPUs.
        env: ``OMP_NUM_THREADS``, if set.

    """
    allowed = [len(os.sched_getaffinity(0)) // neighbours]
    pod = cpus_of(job.spec.training.resources)
    if pod is not None:
        allowed.append(math.floor(pod) // local_world)
    if env.get("OMP_NUM_THREADS", "").isdigit():
        allowed.append(int(env["OMP_NUM_THREADS"]))
    return max(1, min(allowed))


def machine_name(path: Path = _BOOT_ID) -> str:
    """Return a name that processes of this machine share and others do not."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def cpus_of(resources: Mapping[str, Any] | None) -> float | None:
    """Return the CPUs of core/v1 ResourceRequirements, the limit first; None: neither is set or readable."""
    for kind in ("limits", "requests"):
        values = (resources or {}).get(kind)
        quantity = values.get("cpu") if isinstance(values, Mapping) else None
        if quantity is not None:
            return _quantity(str(quantity))
    return None


def _quantity(text: str) -> float | None:
    """Return a Kubernetes CPU quantity: "2", "0.5" or "1500m"."""
    number, scale = (text[:-1], 1000) if text.endswith("m") else (text, 1)
    try:
        return float(number) / scale
    except ValueError:
        return None
