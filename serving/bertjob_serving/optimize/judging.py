"""From measured candidates to rows, verdict and result: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bertjob_api.spec import Gate
from bertjob_api.termination import Failure, Result
from bertjob_serving.optimize import estimates, gate, report
from bertjob_serving.optimize.live import Live
from bertjob_serving.optimize.outcome import Record
from bertjob_serving.optimize.recipes import FP32, RECIPES
from bertjob_serving.optimize.report import Row
from bertjob_tasks.task import Array, Features, Task, metric_of

GATE_FAILED: Final = "GateFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything that was measured on one held-out set."""

    task: Task[Any]
    features: Features
    """The held-out examples."""
    fp32: Record
    candidates: Mapping[str, Record | str]
    """By method; a string says why there is none."""
    live: Live | None
    """None: there is no live model, or it could not be measured."""
    has_live: bool
    int8_feature: bool
    """The CPU has INT8 instructions."""


def rows(measured: Measured, limits: Gate) -> list[Row]:
    """Return the rows of the FP32 engines, and one for each candidate, judged."""
    metric = measured.task.metric
    found = [_reference(FP32, measured.fp32, measured)]
    for name, record in measured.candidates.items():
        if isinstance(record, str):
            verdict = None if _is_reference(name) or _is_shown(name) else gate.FAILED
            found.append(Row(method=name, record=None, value=None, metric=metric, verdict=verdict, failure=record))
        elif _is_reference(name):
            found.append(_reference(name, record, measured))
        else:
            judged = _row(name, record, measured, limits)
            found.append(replace(judged, checks=(), verdict=None) if _is_shown(name) else judged)
    return found


def _is_reference(name: str) -> bool:
    return name in RECIPES and RECIPES[name].is_reference


def _is_shown(name: str) -> bool:
    return name in RECIPES and RECIPES[name].is_shown


def best_fp32(measured: Measured) -> float:
    """Return how many times faster the fastest FP32 engine is than the one that all candidates are timed beside, >= 1."""
    others = [record for name, record in measured.candidates.items() if _is_reference(name)]
    found = [estimates.typical(record.outcome.speedups).value for record in others if not isinstance(record, str)]
    return max([1.0, *found])


def _reference(name: str, record: Record, measured: Measured) -> Row:
    return Row(method=name, record=record, value=_value(record.outcome.answers, measured), metric=measured.task.metric)


def _row(method: str, record: Record, measured: Measured, limits: Gate) -> Row:
    outcome, live, own = record.outcome, measured.live, _statistics(record.outcome.answers, measured)
    figures = gate.Figures(
        accuracy_drop=_drop(_statistics(measured.fp32.outcome.answers, measured), own, measured.task),
        examples=measured.features.num_items,
        speedup=estimates.typical(outcome.speedups).divided(best_fp32(measured)),
        size_ratio=outcome.weights_bytes / measured.fp32.outcome.weights_bytes,
        live_drop=_drop(_of_live(live, measured), own, measured.task) if live is not None else None,
        has_live=measured.has_live,
        int8_feature=measured.int8_feature,
        metric=measured.task.metric,
    )
    checks = gate.judge(figures, limits)
    return Row(
        method=method,
        record=record,
        value=_value(outcome.answers, measured),
        metric=measured.task.metric,
        figures=figures,
        checks=checks,
        verdict=gate.verdict(checks),
    )


def _value(answers: Sequence[float], measured: Measured) -> estimates.Estimate:
    return estimates.metric_value(_statistics(answers, measured), combine=measured.task.combine)


def _statistics(answers: Sequence[float], measured: Measured) -> Array:
    return measured.task.statistics(measured.features, answers)


def _of_live(live: Live, measured: Measured) -> Array:
    return measured.task.statistics(live.features, live.answers)


def _drop(reference: Array, candidate: Array, task: Task[Any]) -> estimates.Estimate:
    return estimates.metric_drop(reference, candidate, combine=task.combine)


def result(found: Sequence[Row], measured: Measured) -> Result:
    """Return the result: the fastest candidate that passed, FP32 when there was none to judge, else a failure."""
    examples = measured.features.num_items
    fp32, candidates = found[0], [row for row in found if row.verdict is not None]
    assert fp32.record is not None, "FP32 is the reference"
    if not candidates:
        evaluation = report.evaluation(fp32, None, examples=examples, verdict=None)
        return Result(artifact=fp32.record.artifact, evaluation=evaluation)
    name = gate.best([(row.method, row.verdict or "Failed", _speedup(row)) for row in candidates])
    chosen = next(row for row in candidates if row.method == name)
    verdict = chosen.verdict or "Failed"
    evaluation = report.evaluation(fp32, chosen, examples=examples, verdict=verdict)
    if measured.live is not None:
        value = metric_of(measured.task, measured.live.features, measured.live.answers)
        live = measured.live.scores(metric=measured.task.metric, value=value, examples=examples)
        evaluation = replace(evaluation, live=live)
    details = report.details(candidates)
    if verdict == "Passed" and chosen.record is not None:
        return Result(artifact=chosen.record.artifact, evaluation=evaluation, details=details)
    failure = Failure(reason=GATE_FAILED, message=f"no candidate passed the gate ({verdict}); {' | '.join(details)}")
    return Result(evaluation=evaluation, details=details, failure=failure)


def _speedup(row: Row) -> float:
    return row.figures.speedup.value if row.figures is not None and row.figures.speedup is not None else 0.0
