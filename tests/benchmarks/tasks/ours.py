"""Our side: the loop that jobs run, without storage."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from benchmarks.tasks import runs
from benchmarks.tasks.runs import Run, tell
from benchmarks.tasks.works import Prepared
from support.benching import OUT
from support.learning import io_of

from bertjob_api.manifest import MANIFEST
from bertjob_trainer import building, export, loop, training
from bertjob_trainer.evaluate import evaluate
from bertjob_trainer.machine import Machine
from bertjob_trainer.state import TrainState

KEPT: Final = OUT / "tasks"
MODELS: Final = KEPT / "models"


def model_folder(prepared: Prepared, *, seed: int, machine: Machine) -> Path:
    """Return the folder of the model that a seed trained, in Hugging Face's format; it is trained when nobody has yet."""
    folder = MODELS / _name(prepared, seed)
    if not folder.is_dir():
        runs.keep(KEPT, train(prepared, seed=seed, machine=machine, models=MODELS))
    return folder


def _name(prepared: Prepared, seed: int) -> str:
    return f"{prepared.name}-{seed}-{prepared.budget}"


def train(prepared: Prepared, *, seed: int, machine: Machine, models: Path | None = None) -> Run:
    """Train with a seed and evaluate; the model is kept below *models*, unless that is None."""
    job, examples = prepared.seeded(seed), prepared.examples
    torch.manual_seed(seed)
    model = building.build_model(job, prepared.paths, examples, config=prepared.config).to(machine.device)
    state = TrainState.start(model, weight_decay=job.spec.training.weight_decay)
    config = training._plan(job.spec.training, examples, machine)  # just what jobs train with
    total = config.order.total_steps

    def report(step: loop.Step) -> None:
        tell(f"{prepared.name}, seed {seed}, BertJob", step.step, total, step.loss)

    started = time.perf_counter()
    loop.train(config, state, examples.train, io_of(report=report, group=machine.group, device=machine.device))
    seconds = time.perf_counter() - started
    metrics = evaluate(state.model, examples.validation, examples.task, machine)
    if models is not None:
        _keep_model(state, prepared, metrics, seed=seed, target=models / _name(prepared, seed))
    return Run(
        task=prepared.name,
        side="bertjob",
        seed=seed,
        budget=prepared.budget,
        steps=state.step,
        seconds=seconds,
        metrics=metrics,
    )


def _keep_model(
    state: TrainState, prepared: Prepared, metrics: Mapping[str, float], *, seed: int, target: Path
) -> None:
    """Write the model as a job would publish it, all of it or nothing."""
    examples = prepared.examples
    fresh = target.with_name(f"{target.name}.new-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    about = export.Trained(
        job=prepared.seeded(seed),
        run=f"{prepared.name}-{seed}",
        task=examples.task,
        labels=examples.labels,
        digests=prepared.digests,
        metrics=metrics,
        steps=state.step,
    )
    manifest = export.write(state.model, about, source=prepared.paths.model, folder=fresh)
    (fresh / MANIFEST).write_bytes(manifest.to_json())
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
