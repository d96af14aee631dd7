"""From a trained state to the published, committed model: which weights, what they are worth, and what is told of them."""

import copy
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bertjob_api.job import BertJob
from bertjob_api.manifest import CorruptError
from bertjob_api.termination import Result
from bertjob_storage.protocol import NotFoundError, Storage, StorageError
from bertjob_tasks.task import Array
from bertjob_trainer import commits, evaluations, export, language_evaluation
from bertjob_trainer.checkpoint import Checkpoints
from bertjob_trainer.evaluate import evaluate, outputs_of, scores_of
from bertjob_trainer.evaluations import Watch
from bertjob_trainer.group import from_first
from bertjob_trainer.inputs import Examples, Paths
from bertjob_trainer.machine import Machine
from bertjob_trainer.report import analysis, environment, page, writing
from bertjob_trainer.state import TrainState

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training run and its name."""

    job: BertJob
    id: str
    uri: str
    """Folder of its checkpoints and its commit."""
    digests: Mapping[str, str]
    """sha256 of each input."""
    storage: Storage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """The model to publish."""

    model: nn.Module
    step: int
    """Optimizer steps that it has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finished:
    """A training that has come to its end."""

    state: TrainState
    watch: Watch
    chosen: Chosen
    trained: int
    """Optimizer steps that this process did."""
    outputs: Sequence[Array]
    """Of the chosen model, as ``analysis.analyse`` wants them."""
    scores: Mapping[str, float]
    """Its metrics, those of the test examples as ``testAccuracy`` and so on."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return sentences on what is not as everybody expects: an early end, an older model."""
        told = [evaluations.why_over(self.watch, self.state.course.evaluations)]
        if self.chosen.step != self.state.step:
            told.append(f"the model is that of step {self.chosen.step}, the best by {self.watch.best}")
        return tuple(each for each in told if each is not None)


def choose(state: TrainState, watch: Watch, checkpoints: Checkpoints, machine: Machine) -> Chosen:
    """
    Return the model to publish, whole in every process.

    The best one where the job wants that. When its checkpoint is lost or damaged, the next best that can be had.
    """
    model = state.whole_model()
    if watch.best is None:
        return Chosen(model=model, step=state.step)
    first = machine.group.rank == 0
    saved = _best_tensors(state, watch.best, checkpoints) if first else None
    step = from_first(machine.group, saved[0] if saved else None, device=machine.device)
    if step is None:
        return Chosen(model=model, step=state.step)
    # A copy: whoever is lost from here on, the state stays that of its step.
    model = model if state.is_split else copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if saved is not None:
                parameter.copy_(saved[1][f"model.{name}"])
            machine.group.broadcast(parameter)
    return Chosen(model=model, step=int(step))


def _best_tensors(state: TrainState, metric: str, checkpoints: Checkpoints) -> tuple[int, Mapping[str, Any]] | None:
    """Return step and saved tensors of the best model; None: it is the one in memory."""
    for evaluation in evaluations.ranked(state.course.evaluations, metric):
        if evaluation.step == state.step:
            return None
        try:
            return evaluation.step, checkpoints.load(checkpoints.at(evaluation.step))[0]
        except (NotFoundError, CorruptError) as error:
            _log.warning("the model of step %d, better by %s, cannot be had: %s", evaluation.step, metric, error)
    return None


def finish(
    state: TrainState, chosen: Chosen, watch: Watch, examples: Examples, machine: Machine, *, start: int
) -> Finished:
    """Evaluate the chosen model in every process; *start* is the step that this process began with."""
    task = examples.task
    if task.hides:  # logits of a whole vocabulary for each token are not kept
        validation = examples.validation
        filled = language_evaluation.filled(chosen.model, validation.data, validation.features.gold.order, machine)
        outputs, found = filled.outputs, dict(filled.scores)
    else:
        outputs = outputs_of(chosen.model, examples.validation, task, machine)
        found = dict(scores_of(examples.validation, outputs, task))
    if examples.test is not None:
        of_test = evaluate(chosen.model, examples.test, task, machine)
        found.update({f"test{name[0].upper()}{name[1:]}": value for name, value in of_test.items()})
    return Finished(state=state, watch=watch, chosen=chosen, trained=state.step - start, outputs=outputs, scores=found)


def settle(saves: Checkpoints) -> None:
    """Let the last upload end; the trained model supersedes it, so its failure is only worth a warning."""
    try:
        saves.wait()
    except StorageError as error:
        _log.warning("the last checkpoint was not saved: %s", error)


def publish(run: Run, finished: Finished, examples: Examples, paths: Paths, machine: Machine) -> Result:
    """Publish the model, commit the run, and put the report beside the model."""
    trained = export.Trained(
        job=run.job,
        run=run.id,
        task=examples.task,
        labels=examples.labels,
        digests=run.digests,
        metrics=finished.scores,
        steps=finished.chosen.step,
    )
    with tempfile.TemporaryDirectory(prefix="bertjob-model-") as folder:
        manifest = export.write(finished.chosen.model, trained, source=paths.model, folder=Path(folder))
        artifact = commits.publish(run.storage, run.job, Path(folder), manifest)
    result = Result(
        artifact=artifact,
        metrics=finished.scores,
        steps=finished.chosen.step,
        trained_steps=finished.trained,
        details=finished.reasons,
    )
    result = commits.commit(run.storage, run.uri, result)
    # After the commit: nothing that is wrong with a picture may cost a trained model.
    writing.put(run.storage, artifact, _report(run, finished, examples, paths, machine, model=artifact.uri))
    return result


def _report(
    run: Run, finished: Finished, examples: Examples, paths: Paths, machine: Machine, *, model: str
) -> page.Report:
    features, records = examples.validation.features, finished.state.course.records
    found = analysis.analyse(examples.task, features, finished.outputs, labels=examples.labels)
    return page.Report(
        name=run.job.name,
        task=examples.task.name,
        metric=examples.task.metric,
        scores=finished.scores,
        records=records,
        chosen=finished.chosen.step,
        reasons=finished.reasons,
        analysis=found,
        texts=writing.texts(run.job, found, features.inputs, tokenizer=paths.model),
        pieces=writing.pieces(run.job, found, tokenizer=paths.model),
        spec=writing.shown_spec(run.job),
        model=model,
        environment=environment.facts(machine.facts, records, run.digests, now=time.time()),
    )
