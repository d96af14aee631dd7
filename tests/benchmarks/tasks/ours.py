"""Our side: the loop that jobs run, without storage."""

import time

import torch
from benchmarks.tasks.runs import Run, tell
from benchmarks.tasks.works import Prepared
from support.learning import io_of

from bertjob_trainer import building, loop, training
from bertjob_trainer.evaluate import evaluate
from bertjob_trainer.machine import Machine
from bertjob_trainer.state import TrainState


def train(prepared: Prepared, *, seed: int, machine: Machine) -> Run:
    """Train with a seed and evaluate."""
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
    return Run(
        task=prepared.name,
        side="bertjob",
        seed=seed,
        budget=prepared.budget,
        steps=state.step,
        seconds=seconds,
        metrics=evaluate(state.model, examples.validation, examples.task, machine),
    )
