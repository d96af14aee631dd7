"""The candidates side by side: as a table for people, as JSON for programs, as rows for the status."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bertjob_api.digest import sha256_of
from bertjob_api.parse import dump
from bertjob_api.status import Evaluation, Scores
from bertjob_serving.optimize.estimates import Estimate
from bertjob_serving.optimize.gate import Check, Figures, Verdict
from bertjob_serving.optimize.outcome import Latency, Record, asdict_artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One candidate's line: what it got, or why it got nothing."""

    method: str
    record: Record | None
    """None: it failed to be built or measured."""
    value: Estimate | None
    """The metric on the held-out data; None as for ``record``."""
    metric: str
    figures: Figures | None = None
    """None for the FP32 engines, which are the reference."""
    checks: tuple[Check, ...] = ()
    verdict: Verdict | None = None
    """None for the FP32 engines."""
    failure: str | None = None


def scores(row: Row, *, examples: int, latency: Latency) -> Scores:
    """Return the figures of a measured row for the status."""
    assert row.record is not None, "only a measured candidate has scores"
    outcome, value = row.record.outcome, row.value
    return Scores(
        metric=row.metric,
        value=None if value is None else round(value.value, 6),
        value_low=None if value is None else round(value.low, 6),
        value_high=None if value is None else round(value.high, 6),
        num_examples=examples,
        latency_p50_ms=latency.p50_ms,
        latency_p99_ms=latency.p99_ms,
        fixed_tokens=outcome.fixed_tokens,
        fixed_latency_p50_ms=latency.fixed_p50_ms,
        fixed_latency_p99_ms=latency.fixed_p99_ms,
        size_bytes=outcome.weights_bytes,
        peak_memory_bytes=outcome.peak_bytes,
        engine=outcome.engine,
    )


def evaluation(fp32: Row, chosen: Row | None, *, examples: int, verdict: Verdict | None) -> Evaluation:
    """
    Return what the status shows.

    FP32's latencies are those of the chosen candidate's run, where both were timed in turn.
    """
    assert fp32.record is not None, "FP32 is the reference"
    outcome = (chosen.record or fp32.record).outcome if chosen is not None else fp32.record.outcome
    measured = chosen is not None and chosen.record is not None
    return Evaluation(
        fp32=scores(fp32, examples=examples, latency=outcome.fp32_latency),
        int8=scores(chosen, examples=examples, latency=outcome.latency) if chosen is not None and measured else None,
        method=chosen.method if chosen is not None else fp32.method,
        verdict=verdict,
    )


def details(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return one sentence for each INT8 candidate: its verdict and the checks that decided."""
    return tuple(f"{row.method}: {row.verdict}: {_reason(row)}" for row in rows if row.verdict is not None)


def _reason(row: Row) -> str:
    if row.failure is not None:
        return row.failure
    against = [check.message for check in row.checks if check.verdict != "Passed"]
    return "; ".join(against or [check.message for check in row.checks])


def table(rows: Sequence[Row]) -> str:
    """Return the candidates as aligned text; times are of one text, at the data's lengths and at a fixed one."""
    tokens = next(row.record.outcome.fixed_tokens for row in rows if row.record is not None)
    head = (
        "candidate",
        "verdict",
        rows[0].metric,
        "drop",
        "p50 ms",
        "p99 ms",
        f"p50 at {tokens}",
        f"p99 at {tokens}",
        "speed-up",
        f"at {tokens}",
        "weights MB",
        "of FP32",
        "peak MB",
    )
    cells = [head, *(_cells(row, width=len(head)) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    reasons = [f"{row.method}: {_reason(row)}" for row in rows if _has_reason(row)]
    return "\n".join([*lines, *reasons])


def _has_reason(row: Row) -> bool:
    return row.failure is not None or row.verdict not in (None, "Passed")


def _cells(row: Row, *, width: int) -> tuple[str, ...]:
    if row.record is None:
        return (row.method, row.verdict or "reference", *["-"] * (width - 2))
    outcome, figures, latency = row.record.outcome, row.figures, row.record.outcome.latency
    fixed = sorted(outcome.fixed_speedups)[len(outcome.fixed_speedups) // 2]
    return (
        row.method,
        row.verdict or "reference",
        "-" if row.value is None else str(row.value),
        str(figures.accuracy_drop) if figures and figures.accuracy_drop else "-",
        f"{latency.p50_ms:.2f}",
        f"{latency.p99_ms:.2f}",
        f"{latency.fixed_p50_ms:.2f}",
        f"{latency.fixed_p99_ms:.2f}",
        str(figures.speedup) if figures and figures.speedup else "1",
        f"{fixed:.2f}",
        f"{outcome.weights_bytes / 1e6:.2f}",
        f"{figures.size_ratio:.3f}" if figures and figures.size_ratio is not None else "-",
        "-" if outcome.peak_bytes is None else f"{outcome.peak_bytes / 1e6:.0f}",
    )


def as_json(rows: Sequence[Row], evaluation: Evaluation, *, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``evaluation.json``: *inputs* (digests, CPU, gate), the decision, and every candidate with its figures."""
    return {"inputs": dict(inputs), "evaluation": dump(evaluation), "candidates": [_candidate(row) for row in rows]}


def _candidate(row: Row) -> dict[str, Any]:
    plain: dict[str, Any] = {"method": row.method, "verdict": row.verdict, "failure": row.failure}
    plain["checks"] = [asdict(check) for check in row.checks]
    if row.record is not None:
        measured = asdict(row.record.outcome)
        plain |= {
            "artifact": None if row.record.artifact is None else asdict_artifact(row.record.artifact),
            "value": row.value.value if row.value else None,
            "bounds": [row.value.low, row.value.high] if row.value else None,
            "predictionsSha256": sha256_of(list(measured.pop("answers"))),
            "measured": measured,
            "figures": asdict(row.figures) if row.figures else None,
        }
    return plain
