"""Training texts for the candidates that need some: to measure ranges of activations, and to learn from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertjob_api.spec import JobSpec, Optimize
from bertjob_serving.optimize import heldout
from bertjob_serving.optimize.bundle import Tuning
from bertjob_serving.optimize.recipes import Needs, needs
from bertjob_tasks.encoding import Encoder, Ids
from bertjob_tasks.task import Task

_LANGUAGE: Final = 10_000
"""Texts that show a language: a script of one letter in a thousand is not missed in so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Token ids of training texts; () where no candidate needs them."""

    calibration: tuple[Ids, ...] = ()
    training: tuple[Ids, ...] = ()
    language: tuple[Ids, ...] = ()
    """What shows which words the task's language needs."""


def drawn(spec: JobSpec, task: Task[Any], encoder: Encoder, *, folder: Path) -> Drawn:
    """Return the training texts that the job's candidates need, fetched into *folder*; raises StorageError or DataError."""
    optimize = spec.optimize
    wanted = needs(optimize) if optimize is not None else Needs()
    trims = optimize is not None and optimize.vocabulary == "Language"
    if optimize is None or (wanted == Needs() and not trims):
        return Drawn()
    source = heldout.download(spec.data.train, spec=spec, folder=folder)

    def some(count: int) -> tuple[Ids, ...]:
        asked = heldout.calibration(source, spec=spec, wanted=count)
        ids = (item.ids for windows in task.encode_asked(asked, encoder=encoder) for item in windows)
        return tuple(heldout.sample(ids, wanted=count))

    return Drawn(
        calibration=some(optimize.calibration_samples) if wanted.calibration else (),
        training=some(optimize.fine_tune.examples) if wanted.training else (),
        language=some(_LANGUAGE) if trims else (),
    )


def tuning(optimize: Optimize) -> Tuning:
    """Return how the job's weights are reworked."""
    return Tuning(
        heads=optimize.pruning.heads,
        channels=optimize.pruning.channels,
        epochs=optimize.fine_tune.epochs,
        learning_rate=optimize.fine_tune.learning_rate,
    )
