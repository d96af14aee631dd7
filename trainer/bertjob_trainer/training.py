"""
One training run: from a job and its inputs to a published, committed model.

Every stage is a no-op when its output is there, so starting a worker again after any crash is always right.
"""

import logging
import time
from dataclasses import replace
from typing import Any

from bertjob_api import layout, termination
from bertjob_api.job import BertJob
from bertjob_api.spec import Training
from bertjob_api.termination import Result
from bertjob_storage.opening import open_storage
from bertjob_trainer import (
    building,
    cadence,
    commits,
    evaluations,
    inputs,
    ledger,
    ledger_files,
    loop,
    losses,
    optim,
    order,
    precision,
    publishing,
    reporting,
    rescuing,
)
from bertjob_trainer.chronicle import Chronicle
from bertjob_trainer.evaluate import evaluate
from bertjob_trainer.group import PeerLostError, RegroupError, from_first
from bertjob_trainer.inputs import Examples, Paths
from bertjob_trainer.machine import Machine
from bertjob_trainer.memory import Memory
from bertjob_trainer.meter import Meter
from bertjob_trainer.publishing import Run
from bertjob_trainer.settings import Settings
from bertjob_trainer.stop import Stop

_log = logging.getLogger(__name__)


def train_job(given: Settings, machine: Machine, stop: Stop, memory: Memory) -> Result | None:
    """
    Return the result of the job's training, the same in every process; None: stopped on request, after saving, or warmed up.

    What *memory* holds is not read or built again, and it holds everything afterwards.
    """
    job, first = given.job, machine.group.rank == 0

    # Inputs: one process of each pod downloads, and the run is named by what was found.
    _fetch(given, machine, memory)
    paths = inputs.locate(job, given.scratch)
    run = _run_of(job, paths, machine, memory)

    # Nothing to do when this run has been committed.
    done = _shared(commits.committed(run.storage, run.uri) if first else None, machine)
    if done is not None:
        _log.info("%s is trained already", run.id)
        return done

    # Model, data and state: of a survivor, else of the newest checkpoint, else of the source.
    building.build(given, run, paths, machine, memory)
    if memory.is_warming:
        return None
    state, examples, checkpoints = memory.state, memory.examples, memory.checkpoints
    assert state is not None
    assert examples is not None
    assert checkpoints is not None
    plan = _plan(job.spec.training, examples, machine)
    rescuing.prepare(given, memory, plan.purpose(machine.group.world))
    start = building.begin(memory, machine)
    _log.info("%s: %d processes, %s, from step %d", run.id, machine.group.world, machine.dtype, start)

    # Training.
    try:
        reached_end = _train(given, run, plan, memory, machine, stop)
    except PeerLostError as error:
        rescuing.before_leaving(error, memory)
        raise
    if not reached_end:
        checkpoints.wait()
        return None

    # The model to publish, evaluation, publication, commit.
    publishing.settle(checkpoints)
    if first:
        since = checkpoints.committed.step if checkpoints.committed is not None else 0
        ledger_files.write(run.storage, run.uri, ledger.records(state.ledger, since=since))
    chosen = publishing.choose(state, plan.watch, checkpoints, machine)
    finished = publishing.finish(state, chosen, plan.watch, examples, machine, start=start)
    _log.info("%s", "; ".join((f"trained {state.step} steps", *finished.reasons)))
    return _shared(publishing.publish(run, finished, examples, paths, machine) if first else None, machine)


def _fetch(given: Settings, machine: Machine, memory: Memory) -> None:
    """Let one process of each pod download the inputs; nothing for workers that stay alive: they did while they warmed up."""
    if memory.is_warming or memory.digests is not None:
        return
    if given.local_rank == 0:
        inputs.fetch(given.job, given.scratch)
    machine.group.barrier()


def _run_of(job: BertJob, paths: Paths, machine: Machine, memory: Memory) -> Run:
    found = dict(memory.digests or inputs.digests(paths, job.spec.data)) if machine.group.rank == 0 else None
    memory.digests = digests = from_first(machine.group, found, device=machine.device)
    name = layout.run_id(job, digests)
    storage = open_storage(job.spec.storage.prefix)
    return Run(job=job, id=name, uri=f"{layout.job_root(job)}/{name}", digests=digests, storage=storage)


def _plan(spec: Training, examples: Examples, machine: Machine) -> loop.TrainConfig:
    """Return what the loop needs to know of a job."""
    steps = order.Order(
        seed=spec.seed,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        micro_batch_size=spec.micro_batch_size,
        lengths=examples.train.lengths,
    )
    return loop.TrainConfig(
        order=steps,
        schedule=optim.Schedule(peak=spec.learning_rate, total_steps=steps.total_steps, warmup_ratio=spec.warmup_ratio),
        seed=spec.seed,
        dtype=machine.dtype,
        sums=precision.SUMS[spec.gradient_precision],
        loss=losses.OF[examples.task.loss],
        hiding=examples.hiding,
        watch=evaluations.watch_of(
            spec, metric=examples.task.metric, steps_per_epoch=steps.steps_per_epoch, total=steps.total_steps
        ),
    )


def _train(given: Settings, run: Run, config: loop.TrainConfig, memory: Memory, machine: Machine, stop: Stop) -> bool:
    """Train to the end and return True, or until a process is asked to stop and return False."""
    spec, group = given.job.spec.training, machine.group
    state, examples, checkpoints = memory.state, memory.examples, memory.checkpoints
    assert state is not None, "training begins with a state; this is a bug"
    assert examples is not None, "training begins with examples; this is a bug"
    assert checkpoints is not None, "training begins with checkpoints; this is a bug"
    saves = checkpoints if group.rank == 0 else None
    steps = config.order
    meter = Meter(
        group=group,
        total=steps.total_steps,
        steps_per_epoch=steps.steps_per_epoch,
        resumed_from_step=state.step or None,
    )
    reporter = reporting.Reporter(reporting.post_to(given.progress_url) if given.progress_url else None)
    chronicle = Chronicle(run.storage, run.uri, local=given.records) if group.rank == 0 else None

    def report(step: loop.Step | None) -> None:
        recovered = memory.recovery.stepped(time.monotonic()) if step is not None else None
        if recovered is not None:
            _log.info("%s", recovered)
        progress = meter.progress(step, committed=saves.committed if saves is not None else None)
        reporter.report(replace(progress, last_recovery=memory.recovery.newest))
        if chronicle is not None:
            chronicle.note(state.course)

    report(None)
    rescues = rescuing.is_rescuer(given) and not state.is_split and memory.is_called is None
    try:
        return loop.train(
            config,
            state,
            examples.train,
            loop.Io(
                group=group,
                device=machine.device,
                cadence=cadence.parse(spec.checkpoint.every),
                saves=saves,
                rescues=checkpoints if rescues else None,
                is_stopped=lambda: stop.asked,
                report=report,
                is_called=memory.is_called,
                evaluate=lambda: evaluate(state.whole_model(), examples.validation, examples.task, machine),
            ),
        )
    except (PeerLostError, RegroupError):
        chronicle = None  # the next round writes on, and must not wait for storage
        raise
    finally:
        if chronicle is not None:
            chronicle.close(state.course)
        reporter.close()


def _shared(result: Result | None, machine: Machine) -> Result | None:
    """Return rank 0's result in every process."""
    text: Any = termination.encode(result) if result is not None else None
    text = from_first(machine.group, text, device=machine.device)
    return termination.decode(text) if text is not None else None
