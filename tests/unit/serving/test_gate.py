"""The gate as a table: figures in, verdict and message out."""

from dataclasses import replace
from typing import Any

import pytest

from bertjob_api.spec import Gate
from bertjob_serving.optimize import gate
from bertjob_serving.optimize.estimates import Estimate
from bertjob_serving.optimize.gate import Figures

GOOD = Figures(
    accuracy_drop=Estimate(0.002, -0.004, 0.008),
    examples=1000,
    speedup=Estimate(2.5, 2.4, 2.6),
    size_ratio=0.26,
)


def _judged(gate_fields: dict[str, Any], **figures: Any) -> tuple[str, dict[str, str]]:
    checks = gate.judge(replace(GOOD, **figures), Gate(**gate_fields))
    return gate.verdict(checks), {check.name: check.verdict for check in checks}


@pytest.mark.parametrize(
    ("figures", "limits", "expected"),
    [
        pytest.param({}, {}, "Passed", id="all good"),
        pytest.param({"accuracy_drop": Estimate(-0.01, -0.02, 0.0)}, {}, "Passed", id="better than FP32"),
        pytest.param(
            {"accuracy_drop": Estimate(0.019, 0.01, 0.02)}, {}, "Passed", id="upper bound exactly at the limit"
        ),
        pytest.param(
            {"accuracy_drop": Estimate(0.0, 0.0, 0.05)}, {}, "Inconclusive", id="no loss seen, too few examples"
        ),
        pytest.param(
            {"accuracy_drop": Estimate(0.03, 0.01, 0.05)}, {}, "Inconclusive", id="loss over the limit by luck"
        ),
        pytest.param({"accuracy_drop": Estimate(0.05, 0.03, 0.07)}, {}, "Failed", id="loss for certain"),
        pytest.param({"accuracy_drop": Estimate(0.0, 0.0, 0.0)}, {"max_accuracy_drop": 0.0}, "Passed", id="limit 0"),
        pytest.param({"speedup": Estimate(1.5, 1.5, 1.6)}, {}, "Passed", id="speed exactly at the limit"),
        pytest.param({"speedup": Estimate(1.6, 1.4, 1.8)}, {}, "Inconclusive", id="noisy speed"),
        pytest.param({"speedup": Estimate(1.1, 1.0, 1.2)}, {}, "Failed", id="slow for certain"),
        pytest.param({"size_ratio": 0.35}, {}, "Passed", id="size exactly at the limit"),
        pytest.param({"size_ratio": 0.36}, {}, "Failed", id="too large"),
        pytest.param(
            {"accuracy_drop": Estimate(0.0, 0.0, 0.05), "size_ratio": 0.9},
            {},
            "Failed",
            id="failed outweighs inconclusive",
        ),
        pytest.param({"speedup": None}, {}, "Failed", id="missing fails by default"),
        pytest.param({"speedup": None}, {"on_missing": "Ignore"}, "Passed", id="missing ignored"),
        pytest.param({"accuracy_drop": None, "size_ratio": None}, {"on_missing": "Ignore"}, "Passed", id="two ignored"),
        pytest.param({}, {"against": ("fp32", "live")}, "Passed", id="no live model yet"),
        pytest.param({"has_live": True}, {"against": ("live",)}, "Failed", id="live model not measurable"),
        pytest.param(
            {"has_live": True, "live_drop": Estimate(0.0, 0.0, 0.01)},
            {"against": ("live",)},
            "Passed",
            id="good as live",
        ),
        pytest.param(
            {"has_live": True, "live_drop": Estimate(0.09, 0.05, 0.1)},
            {"against": ("live",)},
            "Failed",
            id="worse than live",
        ),
        pytest.param(
            {"accuracy_drop": Estimate(0.5, 0.4, 0.6)}, {"against": ("live",)}, "Passed", id="FP32 not asked for"
        ),
    ],
)
def test_verdicts(figures: dict[str, Any], limits: dict[str, Any], expected: str) -> None:
    """Passed when the bad bound keeps the limit, Failed when the good one breaks it, else Inconclusive."""
    assert _judged(limits, **figures)[0] == expected


def test_messages_have_figures_limit_and_next_step() -> None:
    """Every check says what was measured and what is allowed; one that did not pass says what to do."""
    figures = replace(
        GOOD, accuracy_drop=Estimate(0.01, 0.0, 0.04), examples=60, speedup=Estimate(0.9, 0.8, 1.0), int8_feature=False
    )

    messages = [check.message for check in gate.judge(figures, Gate())]

    assert messages == [
        (
            "accuracyDrop: 0.01 (0 to 0.04) of accuracy against FP32 on 60 examples, maxAccuracyDrop is 0.02; at least 149 held-out "
            "examples are needed to prove it; add some to spec.data.validation"
        ),
        (
            "speedup: 0.9 (0.8 to 1) times FP32, minSpeedup is 1.5; this CPU has no INT8 instructions (VNNI); run optimize on a node "
            "that has them, or accept INT8 for its size (gate.sizeOnly)"
        ),
        "sizeRatio: 0.26 of FP32, maxSizeRatio is 0.35",
    ]


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([], None),
        ([("a", "Passed", 2.0), ("b", "Passed", 3.0)], "b"),
        ([("a", "Passed", 2.0), ("b", "Failed", 9.0)], "a"),
        ([("a", "Inconclusive", 2.0), ("b", "Failed", 9.0)], "a"),
        ([("b", "Passed", 2.0), ("a", "Passed", 2.0)], "a"),
    ],
    ids=["none", "fastest", "passed first", "inconclusive before failed", "name decides a tie"],
)
def test_best(candidates: list[Any], expected: str | None) -> None:
    """The fastest that passed wins, and the order of the candidates does not matter."""
    assert gate.best(candidates) == expected
    assert gate.best(candidates[::-1]) == expected
