"""The picture of the candidates."""

import itertools
import math
from xml.etree import ElementTree as ET

import pytest

from bertjob_api.status import Artifact
from bertjob_serving.optimize.drawing import svg
from bertjob_serving.optimize.estimates import Estimate
from bertjob_serving.optimize.gate import Verdict
from bertjob_serving.optimize.outcome import Latency, Outcome, Record
from bertjob_serving.optimize.report import Row

SVG = "{http://www.w3.org/2000/svg}"


def _row(method: str, value: float, p50_ms: float, verdict: Verdict | None = None) -> Row:
    latency = Latency(p50_ms=p50_ms, p99_ms=p50_ms, fixed_p50_ms=p50_ms, fixed_p99_ms=p50_ms)
    outcome = Outcome(
        method=method,
        answers=(1.0,),
        latency=latency,
        fp32_latency=latency,
        speedups=(1.0,),
        fixed_tokens=128,
        fixed_speedups=(1.0,),
        weights_bytes=1,
        peak_bytes=None,
        engine="engine",
        cpu="cpu",
    )
    artifact = Artifact(uri="s3://bucket/model", sha256="0" * 64, size_bytes=1)
    record = Record(outcome=outcome, artifact=artifact)
    return Row(method=method, record=record, value=Estimate(value, value, value), metric="accuracy", verdict=verdict)


def _tree(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314  # it was made by the code under test


def _circles(picture: str) -> dict[str, tuple[float, float]]:
    """Return where the candidates stand, by the first word of their titles."""
    found = _tree(picture).iter(f"{SVG}circle")
    return {
        circle[0].text.partition(":")[0]: (float(circle.attrib["cx"]), float(circle.attrib["cy"]))
        for circle in found
        if circle[0].text is not None
    }


def test_faster_is_left_and_better_is_above() -> None:
    """Every measured candidate has its point, placed by latency and metric."""
    places = _circles(
        svg([_row("fp32", 0.9, 4.0), _row("dynamic", 0.8, 2.0, "Failed"), _row("static", 0.85, 1.0, "Passed")])
    )

    assert set(places) == {"fp32", "dynamic", "static"}
    assert places["static"][0] < places["dynamic"][0] < places["fp32"][0]
    assert places["fp32"][1] < places["static"][1] < places["dynamic"][1]


def test_names_of_equals_do_not_overlap() -> None:
    """Candidates that stand at the same place are named on lines of their own."""
    picture = svg([_row("fp32", 0.9, 4.0), _row("dynamic", 0.9, 4.0, "Passed"), _row("static", 0.9, 3.9, "Failed")])
    names = [text for text in _tree(picture).iter(f"{SVG}text") if text.text is not None and "(" in text.text]
    heights = sorted(float(name.attrib["y"]) for name in names)

    assert len(heights) == 3
    assert min(after - before for before, after in itertools.pairwise(heights)) >= 12


def test_what_was_not_measured_is_named() -> None:
    """A candidate without figures is no point, and the picture says so."""
    failed = Row(method="qat <&>", record=None, value=None, metric="accuracy", verdict="Failed", failure="no memory")

    picture = svg([_row("fp32", 0.9, 4.0), failed, _row("odd", math.nan, 1.0, "Failed")])

    assert set(_circles(picture)) == {"fp32"}
    texts = [text.text for text in _tree(picture).iter(f"{SVG}text")]
    assert "not measured: qat <&>, odd" in texts


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_values_have_a_picture(value: float) -> None:
    """One value for all candidates divides by nothing, and every point is inside."""
    places = _circles(svg([_row("fp32", value, 0.0), _row("dynamic", value, 0.0, "Inconclusive")]))

    assert all(0 < x < 640 and 0 < y < 360 for x, y in places.values())
