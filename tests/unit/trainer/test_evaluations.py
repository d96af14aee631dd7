"""What follows from evaluations: which model is the best, and when training ends early."""

import pytest
from support.jobs import a_job

from bertjob_api.job import parse_job
from bertjob_trainer import evaluations
from bertjob_trainer.evaluations import Evaluation, Watch, watch_of


def seen(*values: float, metric: str = "accuracy") -> list[Evaluation]:
    """Return evaluations at steps 0, 10, 20 and so on."""
    return [Evaluation(step=10 * number, metrics={metric: value}) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({}, Watch(total=24)),
        ({"evaluate": {"every": "5 steps"}}, Watch(every=5, total=24)),
        ({"evaluate": {}}, Watch(every=8, total=24)),
        ({"evaluate": {"every": "2 epochs"}}, Watch(every=16, total=24)),
        ({"checkpoint": {"best": "macroF1"}}, Watch(every=8, total=24, best="macroF1")),
        ({"earlyStopping": {}}, Watch(every=8, total=24, stopping="accuracy", patience=3)),
        (
            {"earlyStopping": {"metric": "macroF1", "patience": 1, "minDelta": 0.01}, "evaluate": {"every": "4 steps"}},
            Watch(every=4, total=24, stopping="macroF1", patience=1, min_delta=0.01),
        ),
    ],
    ids=["nothing", "steps", "epoch", "epochs", "best", "stopping", "all"],
)
def test_what_a_job_wants(training: dict[str, object], expected: Watch) -> None:
    """Without a period, evaluation is at the end of each epoch where something depends on it, else never."""
    spec = parse_job(a_job(training=training)).spec.training

    assert watch_of(spec, metric="accuracy", steps_per_epoch=8, total=24) == expected


def test_last_step_is_evaluated_whatever_the_period() -> None:
    """The last model takes part in the choice of the best."""
    watch = Watch(every=10, total=24)

    assert [step for step in range(25) if watch.is_due(step)] == [0, 10, 20, 24]


@pytest.mark.parametrize(
    ("values", "metric", "step"),
    [
        ((0.9, 0.5, 0.7, 0.6), "accuracy", 20),
        ((0.0, 0.7, 0.7), "accuracy", 10),
        ((9.0, 3.0, 2.0, 2.5), "rmse", 20),
        ((9.0, 3.0, 2.0, 2.5), "nspLoss", 20),
        ((0.9,), "accuracy", None),
    ],
    ids=["highest", "earliest of equals", "lower is better", "losses", "untrained does not count"],
)
def test_best(values: tuple[float, ...], metric: str, step: int | None) -> None:
    """The best model is a trained one; of equals it is the earliest."""
    found = evaluations.best(seen(*values, metric=metric), metric)

    assert (found.step if found else None) == step


@pytest.mark.parametrize(
    ("values", "patience", "delta", "ends_at"),
    [
        ((0.1, 0.5, 0.6, 0.7), 1, 0.0, None),
        ((0.1, 0.5, 0.5), 1, 0.0, 20),
        ((0.9, 0.5, 0.6), 1, 0.0, None),
        ((0.1, 0.5, 0.4, 0.6, 0.6, 0.5), 2, 0.0, 50),
        ((0.1, 0.5, 0.505, 0.506), 2, 0.01, 30),
        ((0.1, 0.5, 0.4), 2, 0.0, None),
    ],
    ids=["improves", "equal is no improvement", "untrained is no measure", "counts anew", "too little", "patient"],
)
def test_end_comes_after_evaluations_without_improvement(
    values: tuple[float, ...], patience: int, delta: float, ends_at: int | None
) -> None:
    """Training ends after so many evaluations in a row that do not beat the best before them by enough."""
    watch = Watch(every=10, total=1000, stopping="accuracy", patience=patience, min_delta=delta)

    reason = evaluations.why_over(watch, seen(*values))

    assert (reason or "").startswith(f"stopped early after step {ends_at} of 1000: accuracy was") == (
        ends_at is not None
    )
    assert (reason is None) == (ends_at is None)


def test_unknown_metric_is_refused_by_the_field_that_names_it() -> None:
    """The message lists what there is."""
    watch = Watch(every=1, total=1, stopping="f1")

    with pytest.raises(
        ValueError, match=r"spec.training.earlyStopping.metric: got 'f1', expected one of accuracy, macroF1"
    ):
        evaluations.refuse_unknown(watch, {"accuracy": 1.0, "macroF1": 1.0})
