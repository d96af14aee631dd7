"""Which candidates are made, and what becomes of their measurements."""

from typing import Any

import numpy as np
import pytest

from bertjob_api.parse import dump
from bertjob_api.spec import Gate, Optimize
from bertjob_api.status import Artifact
from bertjob_serving.optimize import judging, report
from bertjob_serving.optimize.outcome import Latency, Outcome, Record
from bertjob_serving.optimize.recipes import Needs, needs, planned
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.registry import task_of
from bertjob_tasks.task import Features

ANSWERS = (1.0, 0.0) * 50


def _record(name: str, *, speedup: float, answers: tuple[float, ...] = ANSWERS, size: int = 100) -> Record:
    latency = Latency(p50_ms=1.0, p99_ms=2.0, fixed_p50_ms=3.0, fixed_p99_ms=4.0)
    outcome = Outcome(
        method=name,
        answers=answers,
        latency=latency,
        fp32_latency=latency,
        speedups=(speedup,) * 5,
        fixed_tokens=128,
        fixed_speedups=(speedup,) * 5,
        weights_bytes=size,
        peak_bytes=12_000_000,
        engine="engine 1, 2 threads",
        cpu="cpu",
    )
    return Record(outcome=outcome, artifact=Artifact(uri=f"s3://bucket/{name}", sha256="0" * 64, size_bytes=size))


def _measured(**candidates: Record | str) -> judging.Measured:
    task = task_of("sequence-classification", None)
    inputs = tuple(Encoded(ids=np.array([1, 2], np.int32), type_ids=np.zeros(2, np.int32)) for _ in ANSWERS)
    return judging.Measured(
        task=task,
        features=Features(inputs=inputs, targets=np.array(ANSWERS, np.int64)),
        fp32=_record("fp32", speedup=1.0),
        candidates={name.replace("_", "-"): record for name, record in candidates.items()},
        live=None,
        has_live=False,
        int8_feature=True,
    )


@pytest.mark.parametrize(
    ("optimize", "expected"),
    [
        (None, "fp32"),
        (Optimize(methods=("static",)), "fp32 fp32-onnx static"),
        (Optimize(methods=("static", "dynamic")), "fp32 fp32-onnx static dynamic dynamic-onnx"),
        (Optimize(methods=("dynamic",), engines=("openvino",)), "fp32 dynamic"),
        (Optimize(methods=("dynamic",), engines=("onnxruntime",)), "fp32 fp32-onnx dynamic-onnx"),
        (Optimize(methods=("pruning", "qat"), engines=("openvino",)), "fp32 pruning qat"),
        (
            Optimize(methods=("static",), references=("magnitude", "torch")),
            "fp32 fp32-onnx static torch magnitude-onnx",
        ),
    ],
    ids=["no INT8", "one method", "order of methods", "one engine", "the other engine", "reworked", "references"],
)
def test_candidates_follow_from_methods_and_engines(optimize: Optimize | None, expected: str) -> None:
    """FP32 comes first, then what each method is for each engine."""
    assert " ".join(planned(optimize)) == expected


def test_references_are_shown_and_not_judged() -> None:
    """What is never served has its figures but no verdict, cannot win, and its failure fails nothing."""
    measured = _measured(
        dynamic=_record("dynamic", speedup=2.0), torch=_record("torch", speedup=9.0), magnitude_onnx="broke"
    )

    rows = {row.method: row for row in judging.rows(measured, Gate())}
    result = judging.result(list(rows.values()), measured)

    assert (rows["torch"].verdict, rows["torch"].checks, rows["magnitude-onnx"].verdict) == (None, (), None)
    assert rows["torch"].figures is not None
    assert rows["torch"].figures.speedup is not None
    assert rows["torch"].figures.speedup.value == 9.0
    assert result.evaluation is not None
    assert result.evaluation.method == "dynamic"


@pytest.mark.parametrize(
    ("optimize", "expected"),
    [
        (Optimize(methods=("dynamic",)), Needs()),
        (Optimize(methods=("dynamic",), references=("torch", "magnitude")), Needs()),
        (Optimize(methods=("static",)), Needs(calibration=True)),
        (Optimize(methods=("qat",)), Needs(calibration=True, training=True)),
        (Optimize(methods=("pruning",), engines=("onnxruntime",)), Needs(training=True)),
    ],
    ids=["dynamic", "references", "static", "qat", "without calibration"],
)
def test_training_data_is_fetched_for_those_that_need_it(optimize: Optimize, expected: Needs) -> None:
    """What is calibrated or fine-tuned needs texts, nothing else does."""
    assert needs(optimize) == expected


def test_speed_is_over_the_fastest_fp32_engine() -> None:
    """A candidate twice as fast as OpenVINO's FP32 is no faster than an ONNX Runtime FP32 that is that fast too."""
    measured = _measured(fp32_onnx=_record("fp32-onnx", speedup=2.0), dynamic=_record("dynamic", speedup=2.0, size=25))

    rows = judging.rows(measured, Gate(min_speedup=1.5))

    assert [(row.method, row.verdict) for row in rows] == [("fp32", None), ("fp32-onnx", None), ("dynamic", "Failed")]
    assert rows[2].figures is not None
    assert rows[2].figures.speedup is not None
    assert rows[2].figures.speedup.value == 1.0


def test_slower_fp32_engine_changes_nothing() -> None:
    """The reference stays the engine that is faster."""
    measured = _measured(fp32_onnx=_record("fp32-onnx", speedup=0.5), dynamic=_record("dynamic", speedup=2.0, size=25))

    assert judging.best_fp32(measured) == 1.0
    assert judging.rows(measured, Gate(max_accuracy_drop=0.05))[2].verdict == "Passed"


def test_fastest_that_passes_wins_and_is_told_whole() -> None:
    """Failed builds and reference engines are no winners; the status has every figure of the one that is."""
    measured = _measured(
        fp32_onnx="RuntimeError: out of memory",
        dynamic=_record("dynamic", speedup=2.0, size=25),
        dynamic_onnx=_record("dynamic-onnx", speedup=3.0, size=26),
        static=_record("static", speedup=9.0, answers=(0.0,) * 100),
    )

    rows = judging.rows(measured, Gate(max_accuracy_drop=0.05))
    result = judging.result(rows, measured)

    assert result.evaluation is not None
    assert result.evaluation.method == "dynamic-onnx"
    assert result.artifact == Artifact(uri="s3://bucket/dynamic-onnx", sha256="0" * 64, size_bytes=26)
    scores: dict[str, Any] = dump(result.evaluation)["int8"]
    assert scores["valueLow"] <= scores["value"] == 1.0 <= scores["valueHigh"]
    assert (scores["fixedTokens"], scores["fixedLatencyP50Ms"], scores["fixedLatencyP99Ms"]) == (128, 3.0, 4.0)
    assert scores["peakMemoryBytes"] == 12_000_000
    table = report.table(rows)
    assert "p99 at 128" in table
    assert "fp32-onnx: RuntimeError: out of memory" in table
