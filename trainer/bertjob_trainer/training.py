"""
One training run: from a job and its inputs to a published, committed model.

Every stage is a no-op when its output is there, so starting a worker again after any crash is always right.
"""

import logging
import time
from dataclasses import replace
from typing import Any

from torch import nn

from bertjob_api import layout, termination
from bertjob_api.job import BertJob
from bertjob_api.spec import Training
from bertjob_api.termination import Result
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import StorageError
from bertjob_trainer import (
    bert_config,
    cadence,
    commits,
    evaluations,
    heads,
    inputs,
    ledger,
    ledger_files,
    loop,
    losses,
    masked_heads,
    optim,
    order,
    precision,
    presets,
    publishing,
    reporting,
    weights,
)
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.checkpoint import Checkpoints
from bertjob_trainer.chronicle import Chronicle
from bertjob_trainer.evaluate import evaluate
from bertjob_trainer.group import PeerLostError, RegroupError, from_first
from bertjob_trainer.inputs import Examples, Paths
from bertjob_trainer.machine import Machine
from bertjob_trainer.memory import Memory
from bertjob_trainer.meter import Meter
from bertjob_trainer.parallel import starting
from bertjob_trainer.parallel.axes import axes_of
from bertjob_trainer.publishing import Run
from bertjob_trainer.resume import from_survivor, resume, share_course
from bertjob_trainer.settings import Settings
from bertjob_trainer.state import TrainState
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
    _build(given, run, paths, machine, memory)
    if memory.is_warming:
        return None
    state, examples, checkpoints = memory.state, memory.examples, memory.checkpoints
    assert state is not None
    assert examples is not None
    assert checkpoints is not None
    checkpoints.copied()  # of the round before
    start = _begin(memory, machine)
    _log.info("%s: %d processes, %s, from step %d", run.id, machine.group.world, machine.dtype, start)

    # Training.
    plan = _plan(job.spec.training, examples, machine)
    try:
        reached_end = _train(given, run, memory, machine, stop)
    except PeerLostError as error:
        _before_leaving(error, memory, checkpoints)
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


def _begin(memory: Memory, machine: Machine) -> int:
    """Bring state and course of every process to where the run is, and return that step."""
    state, group, device = memory.state, machine.group, machine.device
    assert state is not None, "the state is built before it is filled; this is a bug"
    start = from_survivor(memory, group=group, device=device)
    if start is None:
        memory.is_mixed = True
        start = resume(state, memory.checkpoints if group.rank == 0 else None, group=group, device=device) or 0
        memory.is_whole, memory.is_mixed = True, False
    share_course(state, group=group, device=device)
    state.course.started(start, now=time.time(), values={"processes": group.world})
    memory.recovery.reached("restore", time.monotonic())
    return start


def _build(given: Settings, run: Run, paths: Paths, machine: Machine, memory: Memory) -> None:
    """Put into *memory* what it lacks of examples, checkpoints and the state before the first step."""
    job = given.job
    config = BertConfig.from_dict(bert_config.read(paths.model)).with_dropout(job.spec.training.dropout)
    folder = inputs.encoded_folder(job, run.digests, given.scratch)
    memory.examples = memory.examples or inputs.encode(paths, job, config=config, folder=folder)
    keep = job.spec.training.checkpoint.keep
    memory.checkpoints = memory.checkpoints or Checkpoints(run.storage, run.uri, keep, given.attempt, run.id)
    if memory.is_spare or (memory.is_warming and job.spec.training.parallelism.is_cut):
        return  # which part it gets, if any, is not known yet
    if memory.state is None or memory.is_mixed or memory.state.is_split:  # parts of another grid are of no use
        built = build_model(job, paths, memory.examples, config=config)
        memory.state, memory.is_whole, memory.is_mixed = _start(job, built, machine), False, False


def _fetch(given: Settings, machine: Machine, memory: Memory) -> None:
    """Let one process of each pod download the inputs; nothing for workers that stay alive: they did while they warmed up."""
    if memory.is_warming or memory.digests is not None:
        return
    if given.local_rank == 0:
        inputs.fetch(given.job, given.scratch)
    machine.group.barrier()


def is_rescuer(given: Settings) -> bool:
    """
    Return whether this process saves its state when another one is lost: the first of each of the first two pods does.

    Every survivor has the whole state, so no step is lost with a worker or a pod. Two, because one may be the lost one, and no
    more, because each sends the whole state.
    """
    return given.rank in (0, given.local_world)


def _before_leaving(error: PeerLostError, memory: Memory, checkpoints: Checkpoints) -> None:
    """Wait for commits without which the next group would lose steps."""
    if memory.is_called is None:
        await_rescue(checkpoints)
    elif memory.state is not None and memory.state.is_split and isinstance(error, RegroupError):
        publishing.settle(checkpoints)


def await_rescue(checkpoints: Checkpoints) -> None:
    """Wait for what the loop saved when another process was lost; that loss stays what ends this one."""
    try:
        saved = checkpoints.wait()
    except StorageError as error:
        _log.warning("the newest step was not saved: %s", error)
    else:
        _log.info("another process is lost; %s", f"step {saved.step} is saved" if saved else "nothing was to be saved")


def build_model(job: BertJob, paths: Paths, examples: Examples, *, config: BertConfig) -> nn.Module:
    """Return the model before the first step: the source's weights, and new ones by the job's seed where it has none."""
    task, labels = examples.task, examples.labels
    width, seed = task.width(labels), job.spec.training.seed
    model: nn.Module = (
        masked_heads.build(config, seed=seed, with_order=task.reads == "masked-pairs")
        if task.hides
        else heads.build(config, num_labels=width, head=job.spec.model.head, seed=seed, reads=task.reads)
    )
    if presets.name_of(job.spec.model.source) is not None:
        return model
    # A source that was trained for the same labels, or for the same task without labels, keeps its head.
    source = bert_config.read(paths.model)
    known = source.get("id2label") or {}
    same = [known.get(str(number)) for number in range(len(known))] == list(labels)
    if not task.has_labels:
        same = task.architecture in (source.get("architectures") or ())
    weights.load(model, paths.model, with_head=same)
    return model


def _start(job: BertJob, built: nn.Module, machine: Machine) -> TrainState:
    training, group = job.spec.training, machine.group
    axes = axes_of(training.parallelism, world=group.world)
    return starting.start(
        built,
        axes,
        group=group,
        device=machine.device,
        weight_decay=training.weight_decay,
        sums=precision.SUMS[training.gradient_precision],
    )


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


def _train(given: Settings, run: Run, memory: Memory, machine: Machine, stop: Stop) -> bool:
    """Train to the end and return True, or until a process is asked to stop and return False."""
    spec, group = given.job.spec.training, machine.group
    state, examples, checkpoints = memory.state, memory.examples, memory.checkpoints
    assert state is not None, "training begins with a state; this is a bug"
    assert examples is not None, "training begins with examples; this is a bug"
    assert checkpoints is not None, "training begins with checkpoints; this is a bug"
    saves = checkpoints if group.rank == 0 else None
    config = _plan(spec, examples, machine)
    plan = config.order
    meter = Meter(
        group=group, total=plan.total_steps, steps_per_epoch=plan.steps_per_epoch, resumed_from_step=state.step or None
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
    rescues = checkpoints if is_rescuer(given) and not state.is_split else None

    def rescue() -> None:
        if rescues is not None and memory.is_whole:  # else a broadcast of another's state broke off in the middle
            loop.save(config, state, rescues, world=group.world)
        await_rescue(checkpoints)

    memory.rescue = rescue
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
                rescues=rescues if memory.is_called is None else None,
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
