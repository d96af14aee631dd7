"""When the held-out data is looked at while training, and what follows from what was seen. Pure, the same in every process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bertjob_api.spec import Training

_LOWER: Final = ("rmse", "perplexity")
"""Metrics of which less is better, besides those whose name ends with loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The metrics of the held-out data at one step."""

    step: int
    """Optimizer steps that the model had."""
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the job wants of evaluations."""

    every: int | None = None
    """Steps between two; None: there is none while training."""
    total: int = 0
    """Steps of the whole run; the last one is always evaluated."""
    best: str | None = None
    """Metric of the model that is published; None: the last model is."""
    stopping: str | None = None
    """Metric that must improve; None: training goes to the end."""
    patience: int = 1
    """Evaluations in a row that need not improve it."""
    min_delta: float = 0.0

    @property
    def metrics(self) -> Mapping[str, str]:
        """Return the metrics that decide something, by the field that names them."""
        named = {"training.checkpoint.best": self.best, "training.earlyStopping.metric": self.stopping}
        return {field: metric for field, metric in named.items() if metric is not None}

    def is_due(self, step: int) -> bool:
        """Return whether the model of this step is evaluated; that of step 0 is, to have something to compare with."""
        return self.every is not None and (step % self.every == 0 or step == self.total)


def watch_of(training: Training, *, metric: str, steps_per_epoch: int, total: int) -> Watch:
    """Return what a job wants; *metric* is the one of its task, lengths are in optimizer steps."""
    stopping, best = training.early_stopping, training.checkpoint.best
    every = training.evaluate.every if training.evaluate is not None else None
    if every is None and (stopping is not None or best is not None):
        every = "1 epoch"
    count, _, unit = (every or "").partition(" ")
    steps = None if every is None else int(count) * (steps_per_epoch if unit.startswith("epoch") else 1)
    watch = Watch(every=steps, total=total, best=best)
    if stopping is None:
        return watch
    return Watch(
        every=steps,
        total=total,
        best=best,
        stopping=stopping.metric or metric,
        patience=stopping.patience,
        min_delta=stopping.min_delta,
    )


def refuse_unknown(watch: Watch, metrics: Mapping[str, float]) -> None:
    """Raise ValueError when the job names a metric that its task does not have."""
    for field, name in watch.metrics.items():
        if name not in metrics:
            raise ValueError(f"spec.{field}: got {name!r}, expected one of {', '.join(metrics)}; name one of them")


def ranked(seen: Sequence[Evaluation], metric: str) -> tuple[Evaluation, ...]:
    """Return the evaluations of trained models, the best by *metric* first, of equals the earliest."""
    trained = [each for each in seen if each.step > 0 and metric in each.metrics]
    return tuple(sorted(trained, key=lambda each: (-_quality(each, metric), each.step)))


def best(seen: Sequence[Evaluation], metric: str) -> Evaluation | None:
    """Return the evaluation of the best trained model, of equals the earliest; None: there is none yet."""
    return next(iter(ranked(seen, metric)), None)


def why_over(watch: Watch, seen: Sequence[Evaluation]) -> str | None:
    """
    Return why training ends before its last step, as a sentence; None: it goes on.

    An evaluation improves when it is better than the best before it by more than ``min_delta``.
    """
    if watch.stopping is None:
        return None
    reference: Evaluation | None = None
    waited = 0
    for each in seen:
        if each.step == 0 or watch.stopping not in each.metrics:
            continue
        if reference is None or _quality(each, watch.stopping) > _quality(reference, watch.stopping) + watch.min_delta:
            reference, waited = each, 0
        else:
            waited += 1
        if waited >= watch.patience and each.step < watch.total:
            return (
                f"stopped early after step {each.step} of {watch.total}: {watch.stopping} was "
                f"{reference.metrics[watch.stopping]:.4f} at step {reference.step} and has not improved in {waited} evaluations since"
            )
    return None


def _quality(evaluation: Evaluation, metric: str) -> float:
    """Return the metric as a number of which more is better."""
    value = evaluation.metrics[metric]
    return -value if metric.lower().endswith("loss") or metric in _LOWER else value
