"""
The gate says whether a candidate may be served.

Each condition is one check with one of three verdicts. A figure with bounds passes when even its bad bound keeps the limit,
fails when even its good bound breaks it, and is inconclusive in between: noise neither passes nor fails a model. A candidate
passes when every check does; one failed check fails it. The fastest candidate that passes wins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bertjob_api.spec import Gate
from bertjob_serving.optimize.estimates import Estimate, examples_needed

Verdict = Literal["Passed", "Failed", "Inconclusive"]
FAILED: Final[Verdict] = "Failed"
_RANK: Final[dict[Verdict, int]] = {"Passed": 0, "Inconclusive": 1, "Failed": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of one candidate; None: it could not be measured."""

    accuracy_drop: Estimate | None
    """Against FP32, as a fraction."""
    examples: int
    """Held-out examples behind the drops."""
    speedup: Estimate | None
    """Over the fastest FP32 engine."""
    size_ratio: float | None
    """Bytes of the weights over those of FP32."""
    live_drop: Estimate | None = None
    """Against the live model, as a fraction."""
    has_live: bool = False
    """A model is being served; without one there is nothing to compare with, and that is no missing figure."""
    int8_feature: bool = True
    """The CPU has INT8 instructions."""
    metric: str = "accuracy"
    """What the drops are of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition, judged."""

    name: str
    verdict: Verdict
    message: str
    """What was got, what was expected, and the next step when it did not pass."""


def judge(figures: Figures, gate: Gate) -> tuple[Check, ...]:
    """Return every check that applies, in a fixed order."""
    checks = (_accuracy, _live, _speed, _size)
    return tuple(found for check in checks if (found := check(figures, gate)) is not None)


def verdict(checks: Sequence[Check]) -> Verdict:
    """Return the worst verdict of *checks*; of none it is Passed."""
    return max((check.verdict for check in checks), key=_RANK.__getitem__, default="Passed")


def best(candidates: Sequence[tuple[str, Verdict, float]]) -> str | None:
    """
    Return the name of the candidate to show: passed before inconclusive before failed, then the fastest.

    Args:
        candidates: name, verdict and speed-up of each that was measured.

    """
    ordered = sorted(candidates, key=lambda item: (_RANK[item[1]], -item[2], item[0]))
    return ordered[0][0] if ordered else None


def _accuracy(figures: Figures, gate: Gate) -> Check | None:
    if "fp32" not in gate.against:
        return None
    return _drop("accuracyDrop", figures.accuracy_drop, "FP32", figures, gate)


def _live(figures: Figures, gate: Gate) -> Check | None:
    if "live" not in gate.against or not figures.has_live:
        return None
    return _drop("liveDrop", figures.live_drop, "the live model", figures, gate)


def _drop(name: str, drop: Estimate | None, other: str, figures: Figures, gate: Gate) -> Check | None:
    limit = gate.max_accuracy_drop
    if drop is None:
        return _missing(name, gate)
    what = f"{name}: {drop} of {figures.metric} against {other} on {figures.examples} examples, maxAccuracyDrop is {limit:g}"
    return _bounded(
        name, what, drop, good=lambda value: value <= limit, hint=lambda: _more_examples(figures.examples, limit)
    )


def _more_examples(examples: int, limit: float) -> str:
    if 0 < limit < 1 and examples < examples_needed(limit):
        return f"at least {examples_needed(limit)} held-out examples are needed to prove it; add some to spec.data.validation"
    return "add held-out examples to spec.data.validation, or allow a larger drop"


def _speed(figures: Figures, gate: Gate) -> Check | None:
    limit = gate.min_speedup
    if figures.speedup is None:
        return _missing("speedup", gate)
    what = f"speedup: {figures.speedup} times FP32, minSpeedup is {limit:g}"
    hint = (
        "lower minSpeedup, or measure on a quieter node"
        if figures.int8_feature
        else "this CPU has no INT8 instructions (VNNI); run optimize on a node that has them, or accept INT8 for its size (gate.sizeOnly)"
    )
    return _bounded("speedup", what, figures.speedup, good=lambda value: value >= limit, hint=lambda: hint)


def _size(figures: Figures, gate: Gate) -> Check | None:
    ratio, limit = figures.size_ratio, gate.max_size_ratio
    if ratio is None:
        return _missing("sizeRatio", gate)
    what = f"sizeRatio: {ratio:.4g} of FP32, maxSizeRatio is {limit:g}"
    return Check(name="sizeRatio", verdict="Passed" if ratio <= limit else "Failed", message=what)


def _bounded(
    name: str, what: str, figure: Estimate, *, good: Callable[[float], bool], hint: Callable[[], str]
) -> Check:
    """Return the check of a figure by its two bounds; the hint is for those that did not pass."""
    kept = [good(figure.low), good(figure.high)]
    if all(kept):
        return Check(name=name, verdict="Passed", message=what)
    state: Verdict = "Inconclusive" if any(kept) else "Failed"
    return Check(name=name, verdict=state, message=f"{what}; {hint()}")


def _missing(name: str, gate: Gate) -> Check | None:
    """Return a failed check for a figure that could not be measured, or None when the gate is to ignore that."""
    if gate.on_missing == "Ignore":
        return None
    return Check(
        name=name, verdict="Failed", message=f"{name}: could not be measured, and gate.onMissing is Fail; see the log"
    )
