"""
What a training supervisor or an optimize step answers to ``GET /progress``.

The leading operator asks every running one; only the training pod of rank 0 knows the loss, and it says so by ``rank``.
"""

from dataclasses import dataclass

from bertjob_api.fields import api_field


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One training process of the pod."""

    rank: int = api_field("Global rank.", minimum=0)
    pid: int = api_field("Process id within the pod.", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A committed checkpoint."""

    step: int = api_field("Optimizer steps it contains.", minimum=0)
    uri: str = api_field("Its folder.")
    time: float = api_field("Unix time of the commit in seconds.", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How long a process that stays alive stood still between two of its steps, in seconds, and where that time went."""

    reason: str = api_field("Loss: another process was lost; Resize: processes came or went.", max_length=20)
    seconds: float = api_field("From the last whole step to the end of the next one.", minimum=0)
    detect: float = api_field("Until it noticed.", minimum=0)
    place: float = api_field("Until the remaining nodes had agreed.", minimum=0)
    form: float = api_field("Until the processes were connected.", minimum=0)
    restore: float = api_field("Until all had the same state.", minimum=0)
    first_step: float = api_field("The first step.", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far this pod's work is."""

    rank: int | None = api_field("Lowest rank in this pod; unset while no worker runs.", default=None, minimum=0)
    world_size: int | None = api_field("Processes that train together.", default=None, minimum=1)
    step: int | None = api_field("Optimizer steps done, or held-out texts answered.", default=None, minimum=0)
    total: int | None = api_field("Steps or texts to do.", default=None, minimum=0)
    activity: str | None = api_field("What is being done, for people.", default=None, max_length=200)
    epoch: float | None = api_field("Passes over the data done.", default=None, minimum=0)
    loss: float | None = api_field("Training loss of the newest step.", default=None)
    samples_per_second: float | None = api_field("Examples per second over all nodes.", default=None, minimum=0)
    eta_seconds: int | None = api_field("Seconds to the end at this rate.", default=None, minimum=0)
    gradient_bytes: int | None = api_field(
        "Bytes of gradients that one process sent in the newest step.", default=None, minimum=0
    )
    resumed_from_step: int | None = api_field("Step the current workers started from.", default=None, minimum=0)
    restarts: int = api_field(
        "Times this pod's workers were started again after a failure of their own.", default=0, minimum=0
    )
    last_checkpoint: Committed | None = api_field("Newest committed checkpoint.", default=None)
    last_recovery: Recovered | None = api_field("Newest recovery of the reporting process.", default=None)
    workers: tuple[Worker, ...] = api_field("Training processes of this pod.", default=(), max_items=64)
    updated: float | None = api_field("Unix time in seconds of the newest report of a worker.", default=None, minimum=0)
