"""From a job and its inputs to the state in which training begins, the same in every process."""

import time

from torch import nn

from bertjob_api.job import BertJob
from bertjob_trainer import (
    bert_config,
    heads,
    inputs,
    masked_heads,
    precision,
    presets,
    weights,
)
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.checkpoint import Checkpoints
from bertjob_trainer.inputs import Examples, Paths
from bertjob_trainer.machine import Machine
from bertjob_trainer.memory import Memory
from bertjob_trainer.parallel import starting
from bertjob_trainer.parallel.axes import axes_of
from bertjob_trainer.publishing import Run
from bertjob_trainer.resume import from_survivor, resume, share_course
from bertjob_trainer.settings import Settings
from bertjob_trainer.state import TrainState


def build(given: Settings, run: Run, paths: Paths, machine: Machine, memory: Memory) -> None:
    """Put into *memory* what it lacks of examples, checkpoints and the state before the first step."""
    job = given.job
    config = BertConfig.from_dict(bert_config.read(paths.model)).with_dropout(job.spec.training.dropout)
    folder = inputs.encoded_folder(job, run.digests, given.scratch)
    memory.examples = memory.examples or inputs.encode(paths, job, config=config, folder=folder)
    keep = job.spec.training.checkpoint.keep
    memory.checkpoints = memory.checkpoints or Checkpoints(run.storage, run.uri, keep, given.attempt, run.id)
    if memory.is_warming and job.spec.training.parallelism.is_cut:
        return  # which part it gets is told by the world
    if memory.state is None or memory.is_mixed or memory.state.is_split:  # parts of another grid are of no use
        built = build_model(job, paths, memory.examples, config=config)
        memory.state, memory.is_whole, memory.is_mixed = _start(job, built, machine), False, False


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


def begin(memory: Memory, machine: Machine) -> int:
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
