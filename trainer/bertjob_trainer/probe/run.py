"""One probing: from a job to the metric of every layer, as a table and as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from bertjob_api.job import BertJob
from bertjob_tasks.errors import UnsupportedError
from bertjob_trainer import bert_config, building, inputs, order
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.evaluate import scores_of
from bertjob_trainer.inputs import Examples
from bertjob_trainer.probe import layers, linear
from bertjob_trainer.report import charts
from bertjob_trainer.report.style import CSS

_PROBED: Final = {("first", "classes"), ("first", "flags"), ("first", "values"), ("tokens", "classes")}
"""What the head reads and what the loss compares, where a linear model of one vector is the same task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the probes of all layers reached."""

    metric: str
    values: tuple[float, ...]
    """Of the embeddings, and of each layer."""
    num_rows: int
    """Training rows that each probe was fitted on."""

    @property
    def best(self) -> int:
        """Return the layer with the highest value, of equals the first; 0: the embeddings."""
        return max(range(len(self.values)), key=lambda layer: self.values[layer])


def probe(job: BertJob, *, scratch: Path, most: int) -> Found:
    """
    Return how well each layer of the job's model knows the job's task.

    Args:
        job: names model, task and data; nothing of it is trained.
        scratch: folder for downloads.
        most: training rows to fit each probe on: texts, or words for tags.

    Raises:
        UnsupportedError: the task is not one for a linear model.
        DataError, ModelFolderError, StorageError: as in training.

    """
    inputs.fetch(job, scratch)
    paths = inputs.locate(job, scratch)
    config = BertConfig.from_dict(bert_config.read(paths.model))
    folder = inputs.encoded_folder(job, inputs.digests(paths, job.spec.data), scratch)
    examples = inputs.encode(paths, job, config=config, folder=folder)
    task = examples.task
    if (task.reads, task.loss) not in _PROBED:
        raise UnsupportedError(
            f"spec.model.task: {task.name} is no task for a linear probe; take one with labels or numbers"
        )
    bert = building.build_model(job, paths, examples, config=config).eval().bert
    return of_encoder(bert, examples, seed=job.spec.training.seed, most=most)


def of_encoder(bert: torch.nn.Module, examples: Examples, *, seed: int, most: int) -> Found:
    """Return how well each layer of an encoder knows the examples' task."""
    task, train = examples.task, examples.train
    samples = order.epoch_order(seed, 0, len(train))[:most]
    features, targets = layers.rows(bert, train, samples, most=most)
    width = task.width(examples.labels)
    probes = [linear.fit(x, targets, loss=task.loss, width=width) for x in features]
    found = layers.outputs(bert, examples.validation.data, probes)
    values = tuple(scores_of(examples.validation, answers, task)[task.metric] for answers in found)
    return Found(metric=task.metric, values=values, num_rows=len(targets))


def table(found: Found) -> list[str]:
    """Return the lines of the table."""
    low = min(0.0, *found.values)
    span = max(found.values) - low or 1.0
    lines = [f"{'layer':<12}{found.metric:>10}"]
    for layer, value in enumerate(found.values):
        name = "embeddings" if layer == 0 else str(layer)
        bar = "#" * round(30 * (value - low) / span)
        lines.append(f"{name:<12}{value:>10.4f}  {bar}{'  best' if layer == found.best else ''}")
    return lines


def picture(found: Found) -> str:
    """Return the same as an SVG file that needs nothing but itself."""
    points: Sequence[tuple[float, float]] = [(float(layer), value) for layer, value in enumerate(found.values)]
    label = f"{found.metric} of a linear probe on each layer; 0 is the embeddings"
    mark = charts.Mark(at=float(found.best), title=f"layer {found.best} is the best")
    svg = charts.chart([charts.Line(points=points, style="line", dots=True)], label=label, marks=[mark])
    sheet = f"<style>{CSS} svg {{ background: var(--card); }}</style><title>{label}</title>"
    head, _, rest = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{sheet}{rest}\n'
