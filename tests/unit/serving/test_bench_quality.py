"""What the INT8 benchmarks make of figures."""

from typing import Any

import pytest
from benchmarks.int8 import operators
from benchmarks.int8.operators import Node
from benchmarks.quality import tables
from benchmarks.quality.pieces import Piece


def _evaluation(**values: float) -> dict[str, Any]:
    """Return what the optimize step writes: FP32 is right in 90 of 100, candidates as *values* say; below 0: it failed."""
    rows: list[dict[str, Any]] = [{"method": "fp32", "verdict": None, "failure": None, "value": 0.9, "figures": None}]
    rows += [
        {
            "method": name,
            "verdict": "Failed" if value < 0 else "Passed",
            "failure": "was killed by signal 9" if value < 0 else None,
            "value": value,
            "figures": {"speedup": {"value": 2.0}},
        }
        for name, value in values.items()
    ]
    for row in rows:
        row["measured"] = {"weights_bytes": 400 if row["method"] == "fp32" else 100}
    return {"candidates": rows, "evaluation": {"fp32": {"metric": "accuracy"}, "method": "dynamic"}}


def test_drops_are_points_over_tasks_of_equal_weight() -> None:
    """A drop is the mean over tasks of the mean over seeds, and what failed is named and not counted."""
    pieces = [
        Piece.of("a", 1, _evaluation(dynamic=0.89, pruning=-1.0)),
        Piece.of("a", 2, _evaluation(dynamic=0.90, pruning=0.88)),
        Piece.of("b", 1, _evaluation(dynamic=0.91, pruning=0.90)),
    ]

    rows = {row["id"]: row for row in tables.rows(pieces)}

    assert rows["drop-chosen"]["value"] == pytest.approx((0.5 - 1.0) / 2)
    assert rows["drop-pruning"]["value"] == pytest.approx((2.0 + 0.0) / 2)
    assert rows["size-pruned"]["value"] == pytest.approx(4.0)
    assert "| a | 1 | pruning | accuracy | 0.9000 | was killed by signal 9 |" in tables.every(pieces)
    assert "| dynamic | +0.50 | -1.00 | -0.25 | 4.00 x | 2.00 x |" in tables.means(pieces)


@pytest.mark.parametrize(
    ("node", "engine", "kind"),
    [
        (Node("MatMul", "layer.0.x", 1.0), "onnxruntime", "products"),
        (Node("MatMul", "layer.0.x", 1.0), "openvino", "attention"),
        (Node("Subgraph", "bert.encoder.layer.0.attention.self.back", 1.0), "openvino", "attention"),
        (Node("Subgraph", "bert.encoder.layer.0.output", 1.0), "openvino", "activation"),
        (Node("Transpose", "x", 1.0), "openvino", "moving data"),
    ],
)
def test_operators_are_told_by_what_they_do(node: Node, engine: str, kind: str) -> None:
    """The same name may mean another kind of work in another engine."""
    assert operators.kind_of(node, engine) == kind


def test_plan_ends_at_the_roof() -> None:
    """The profile is scaled to what the engine takes unprofiled, and after every step the products alone are left."""
    times = {**dict.fromkeys(operators.ORDER, 2.0), operators.PRODUCTS: 10.0}

    plan = operators.plan(times, wall_ms=10.0, roof_ms=4.0, baseline_ms=40.0)

    lines = [line.split(" | ") for line in plan.splitlines()[2:]]
    assert [line[2] for line in lines] == ["10.00", "9.00", "8.00", "6.00", "5.00", "4.00"]
    assert lines[-1][3] == "10.00 |"
