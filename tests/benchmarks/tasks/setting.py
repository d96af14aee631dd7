"""What runs of both sides share beside the work: the machine, and files that are written and encoded once."""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from benchmarks.tasks import ours, works
from benchmarks.tasks.works import Prepared, Work

from bertjob_trainer import machine as machines
from bertjob_trainer import precision
from bertjob_trainer.group import Alone
from bertjob_trainer.machine import Machine


def machine(wanted: Any) -> Machine:
    """Return this machine for a process of its own, with the arithmetic that is *wanted*."""
    group, device = Alone(), machines.device_of(0, os.environ)
    return Machine(device=device, group=group, dtype=precision.choose(wanted, device=device, group=group))


def about(on: Machine) -> Mapping[str, Any]:
    """Return what figures depend on besides the work."""
    import transformers  # noqa: PLC0415  # seconds, only where a peer is compared

    on_gpu = on.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(on.device) if on_gpu else platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": str(on.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def prepared(name: str, work: Work, root: Path, on: Machine) -> Prepared:
    """Return a work with its files written and encoded; raises DataError and FileNotFoundError."""
    sys.stderr.write(f"{name}: reading and encoding\n")
    told = {"task": name, **about(on)}
    return works.prepare(name, work, root=root, folder=ours.KEPT / "inputs" / name, setting=told)
