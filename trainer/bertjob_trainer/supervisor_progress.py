"""What the workers of one pod report, merged into one answer. Pure but for ``Board``, which holds the newest reports."""

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from bertjob_api.fields import camel
from bertjob_api.parse import dump
from bertjob_api.progress import Progress

_GAUGES: Final = (
    ("step", "Optimizer steps done."),
    ("total", "Optimizer steps to do."),
    ("epoch", "Passes over the data done."),
    ("loss", "Training loss of the newest step."),
    ("samples_per_second", "Examples per second over all nodes."),
    ("gradient_bytes", "Bytes of gradients that one process sent in the newest step."),
    ("world_size", "Processes that train together."),
    ("restarts", "Starts of this pod's workers after failures of their own."),
    ("updated", "Unix time in seconds of the newest report of a worker."),
)


def merge(reports: Iterable[Progress], *, alive: Callable[[int], bool], restarts: int = 0) -> Progress:
    """
    Return the pod's progress.

    The report of the lowest living rank counts. While no worker lives, the newest figures stay but rank, world size and rate,
    which describe running processes, are unset.

    Args:
        reports: the newest of each worker.
        alive: tells whether a process id is a running worker.
        restarts: starts after failures, of the workers or of the launcher itself.

    """
    every = sorted(reports, key=lambda report: report.updated or 0.0)
    if not every:
        return Progress(restarts=restarts)
    living = [report for report in every if any(alive(worker.pid) for worker in report.workers) or not report.workers]
    counted = max(restarts, *(report.restarts for report in every))
    updated = every[-1].updated
    if not living:
        newest = max(every, key=lambda report: report.step or 0)
        return replace(
            newest, rank=None, world_size=None, samples_per_second=None, workers=(), restarts=counted, updated=updated
        )
    lead = min(living, key=lambda report: report.rank if report.rank is not None else 1 << 30)
    workers = {worker.pid: worker for report in living for worker in report.workers if alive(worker.pid)}
    ordered = tuple(sorted(workers.values(), key=lambda worker: worker.rank))
    return replace(lead, workers=ordered[:64], restarts=counted, updated=updated)


def from_kubeflow(body: Mapping[str, Any]) -> Progress:
    """
    Return what the status callback of Kubeflow Trainer says, as ``transformers.Trainer`` sends it from rank 0.

    Raises:
        ValueError: *body* is not such a status.

    Source: transformers ``integrations.KubeflowCallback`` (metrics ``current_step``, ``total_steps``, ``current_epoch``,
    ``loss``, as strings).

    """
    status = body.get("trainerStatus")
    if not isinstance(status, Mapping):
        raise ValueError("status callback: got no trainerStatus, expected an object with it")  # noqa: TRY004  # what came over HTTP is wrong, not a type in here
    listed = status.get("metrics") or ()
    metrics = {str(each.get("name")): each.get("value") for each in listed if isinstance(each, Mapping)}
    return Progress(
        rank=0,
        step=_whole(metrics.get("current_step")),
        total=_whole(metrics.get("total_steps")),
        epoch=_number(metrics.get("current_epoch")),
        loss=_number(metrics.get("loss")),
        eta_seconds=_whole(status.get("estimatedRemainingSeconds")),
    )


def _number(value: object) -> float | None:
    number = None if value is None else float(str(value))
    return number if number is not None and math.isfinite(number) else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def as_metrics(progress: Progress) -> str:
    """Return *progress* in the text format of Prometheus; what is unknown is left out."""
    lines = []
    for name, text in _GAUGES:
        value = getattr(progress, name)
        if value is not None:
            metric = f"bertjob_training_{name}"
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge", f"{metric} {value}"]
    return "\n".join(lines) + "\n"


def as_json(progress: Progress) -> dict[str, Any]:
    """Return *progress* as the operator reads it: every field it may count on is there."""
    return {camel("restarts"): progress.restarts, **dump(progress)}


class Board:
    """The newest report of each worker; threads of the HTTP servers share it."""

    def __init__(self, alive: Callable[[int], bool]) -> None:
        self.launches = 0
        """Times the launcher was started."""
        self.worker_failures = 0
        """Times the launcher started workers again after a failure of their own."""
        self._alive = alive
        self._lock = threading.Lock()
        self._reports: dict[tuple[int, ...], Progress] = {}

    def post(self, report: Progress, *, now: float) -> None:
        """Take a report that came at Unix time *now*."""
        key = tuple(worker.pid for worker in report.workers)
        with self._lock:
            lead = max(self._reports.values(), key=lambda each: each.updated or 0.0, default=None)
            # Of dead workers only the newest report is kept: its figures stay visible until new workers report.
            self._reports = {
                pids: each
                for pids, each in self._reports.items()
                if each is lead or not pids or any(self._alive(pid) for pid in pids)
            }
            self._reports[key] = replace(report, updated=now)

    def read(self) -> Progress:
        """Return the pod's progress."""
        with self._lock:
            reports = tuple(self._reports.values())
        return merge(reports, alive=self._alive, restarts=max(0, self.launches - 1) + self.worker_failures)
