"""How many threads a worker computes with."""

import math
import os
from collections.abc import Mapping
from typing import Any

from bertjob_api.job import BertJob


def wanted(job: BertJob, *, local_world: int, env: Mapping[str, str]) -> int:
    """
    Return the threads of one worker: ``OMP_NUM_THREADS``, else its share of the pod's CPUs, at least 1.

    The pod's CPUs are its CPU limit, else its request, else those this process may run on. torch would count the CPUs of the
    node, and threads beyond the pod's quota make every one of them wait.
    """
    if env.get("OMP_NUM_THREADS", "").isdigit():
        return max(1, int(env["OMP_NUM_THREADS"]))
    here = len(os.sched_getaffinity(0))
    pod = cpus_of(job.spec.training.resources)
    return max(1, min(here, math.floor(pod) if pod is not None else here) // local_world)


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
