"""Reworked weights from top to bottom: pruned or not, then fine-tuned with rounding; once for all candidates that use them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from safetensors.numpy import load_file, save_file

from bertjob_serving import cpu
from bertjob_serving.optimize.bundle import MODEL, Bundle
from bertjob_serving.optimize.onnx_graph import FULL, HALF
from bertjob_serving.optimize.tuning import distil, importance, pruning, rounding, student
from bertjob_serving.optimize.weights import Trained, read_trained

_log = logging.getLogger(__name__)

Kind = Literal["tuned", "pruned"]
"""Fine-tuned with rounding; or pruned before that."""


def reworked(kind: Kind, folder: Path, bundle: Bundle, *, tell: Callable[[str], None]) -> Trained:
    """
    Return the model of the working *folder* reworked, from its file there when an earlier candidate left it.

    Args:
        kind: what is done.
        folder: working folder.
        bundle: its texts and settings.
        tell: is told what is being done.

    Raises:
        ValueError: there are no training texts, or the model is none that can be trained.

    """
    trained, path = read_trained(folder / MODEL), folder / f"{kind}.safetensors"
    if path.is_file():
        return Trained(config=trained.config, tensors=load_file(path))
    made = _made(kind, folder, bundle, trained, tell)
    fresh = path.with_suffix(".new")
    save_file(dict(made.tensors), fresh)
    fresh.rename(path)  # who finds it finds all of it
    return made


def _made(kind: Kind, folder: Path, bundle: Bundle, trained: Trained, tell: Callable[[str], None]) -> Trained:
    if not bundle.training:
        message = "fine-tuning: got no text, expected at least one; spec.data.train is empty"
        raise ValueError(message)
    torch.set_num_threads(1)  # near-ties of importance must not be decided by how sums are split over threads
    settings = bundle.settings
    teacher, model = (student.load(folder / MODEL, reads=settings.reads) for _ in range(2))
    data = student.dataset(bundle.training, sep_id=settings.sep_id)
    if kind == "pruned":
        tell("looking for heads and channels to leave out")
        found = importance.measure(teacher, data)
        kept = pruning.choose(found, heads=settings.tuning.heads, channels=settings.tuning.channels)
        pruning.cut(model, kept)
        _log.info(
            "pruned: kept %s", ", ".join(f"{len(left.heads)} heads, {len(left.channels)} channels" for left in kept)
        )
    rounding.simulate(model, largest=FULL if cpu.int8_feature(cpu.features()) else HALF)

    def told(done: int, total: int) -> None:
        tell(f"fine-tuning, step {done} of {total}")

    course = distil.Course(epochs=settings.tuning.epochs, learning_rate=settings.tuning.learning_rate)
    losses = distil.follow(model, teacher, data, course, threads=settings.threads, told=told)
    _log.info("%s: %d steps, loss %.4f at first, %.4f at last", kind, len(losses), losses[0], losses[-1])
    return student.tensors_of(model, trained)
