"""The measured candidates as a picture: quality over latency, an SVG that needs nothing but itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from bertjob_serving.optimize.report import Row

_WIDTH: Final = 640
_HEIGHT: Final = 360
_LEFT: Final = 80
_RIGHT: Final = 140
_TOP: Final = 30
_BOTTOM: Final = 60
_LINE: Final = 14
"""Height of a line of text."""
_COLORS: Final = {None: "#555555", "Passed": "#1a7f37", "Inconclusive": "#9a6700", "Failed": "#cf222e"}
"""By verdict; None: FP32, the reference."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values, and the pixels that its ends stand at."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of *value*."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> tuple[float, ...]:
        """Return five values from end to end."""
        return tuple(self.low + (self.high - self.low) * part / 4 for part in range(5))


def svg(rows: Sequence[Row]) -> str:
    """Return the picture of all rows that were measured; the others are named below it."""
    points = [
        (row, row.record.outcome.latency.p50_ms, row.value.value)
        for row in rows
        if row.record is not None and row.value is not None and math.isfinite(row.value.value)
    ]
    across = Axis(0.0, max((x for _, x, _ in points), default=0.0) * 1.1 or 1.0, _LEFT, _WIDTH - _RIGHT)
    up = _around([value for _, _, value in points])
    beside = _apart([up.at(value) for _, _, value in points], gap=_LINE)
    shown = {row.method for row, _, _ in points}
    absent = [row.method for row in rows if row.method not in shown]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_across(across),
        *_up(up, rows[0].metric),
        *(
            _point(row, across.at(x), up.at(value), text_y=y, figures=f"{value:.4f}, {x:.2f} ms")
            for (row, x, value), y in zip(points, beside, strict=True)
        ),
    ]
    if absent:
        parts.append(_text(_LEFT, _HEIGHT - 6, f"not measured: {', '.join(absent)}", anchor="start"))
    return "\n".join([*parts, "</svg>", ""])


def _apart(places: Sequence[float], *, gap: float) -> list[float]:
    """Return *places* in their order, moved down as little as keeps each *gap* pixels from the one above it."""
    moved = list(places)
    above = -math.inf
    for index in sorted(range(len(moved)), key=lambda index: moved[index]):
        above = moved[index] = max(moved[index], above + gap)
    return moved


def _around(values: Sequence[float]) -> Axis:
    """Return an axis with the values inside, at least two points of a hundred high."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = max((high - low) * 0.2, 0.01)
    return Axis(low - margin, high + margin, _HEIGHT - _BOTTOM, _TOP)


def _across(axis: Axis) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    lines = [_line(axis.start, bottom, axis.end, bottom)]
    lines += [_text(axis.at(tick), bottom + 16, f"{tick:.2f}", anchor="middle") for tick in axis.ticks()]
    middle = (axis.start + axis.end) / 2
    return [*lines, _text(middle, bottom + 34, "median latency of one text in ms", anchor="middle")]


def _up(axis: Axis, metric: str) -> list[str]:
    lines = [_line(_LEFT, axis.start, _LEFT, axis.end)]
    lines += [_text(_LEFT - 8, axis.at(tick) + 4, f"{tick:.3f}", anchor="end") for tick in axis.ticks()]
    return [*lines, _text(_LEFT, _TOP - 12, metric, anchor="middle")]


def _point(row: Row, x: float, y: float, *, text_y: float, figures: str) -> str:
    state = row.verdict or "reference"
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{_COLORS[row.verdict]}">'
    title = f"<title>{escape(f'{row.method}: {state}, {figures}')}</title></circle>"
    return circle + title + _text(x + 10, text_y + 4, f"{row.method} ({state})", anchor="start")


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#555555"/>'


def _text(x: float, y: float, text: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
