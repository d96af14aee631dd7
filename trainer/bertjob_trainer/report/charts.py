"""Inline SVG whose colours and fonts the page's style sheet decides. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 560, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 30
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_CELL: Final = 34
MOST_CELLS: Final = 30
"""Classes of a confusion matrix that can still be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points, or the points alone."""

    points: Points
    style: str
    """Class in the style sheet."""
    dots: bool = False
    """Draw a dot at each point too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A vertical line that says that something happened."""

    at: float
    title: str


def ticks(low: float, high: float, *, most: int = 5) -> tuple[float, ...]:
    """Return round numbers, about *most* of them, of which the first is at most *low* and the last at least *high*."""
    if not high > low:
        low, high = low - abs(low) * 0.05 - 0.01, high + abs(high) * 0.05 + 0.01
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(number * step, 12) for number in range(first, last + 1))


def chart(lines: Sequence[Line], *, label: str, marks: Sequence[Mark] = ()) -> str:
    """Return a picture of lines over optimizer steps; *label* is what a screen reader says."""
    every = [point for line in lines for point in line.points]
    assert every, "a chart has at least one point"
    across = ticks(min(x for x, _ in every), max(x for x, _ in every))
    up = ticks(min(y for _, y in every), max(y for _, y in every), most=4)
    spot = _Frame(across[0], across[-1], up[0], up[-1])
    parts = [_opening(_WIDTH, _HEIGHT, label), *_grid(spot, across, up)]
    parts += [
        f'<line class="mark" x1="{spot.x(mark.at):.1f}" x2="{spot.x(mark.at):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}">'
        f"<title>{escape(mark.title)}</title></line>"
        for mark in marks
    ]
    for line in lines:
        parts += _line(line, spot)
    return "".join([*parts, "</svg>"])


def scatter(points: Points, *, label: str) -> str:
    """Return a picture of expected (across) and answered (up) numbers with the line on which they are equal."""
    values = [value for point in points for value in point]
    both = ticks(min(values), max(values))
    spot = _Frame(both[0], both[-1], both[0], both[-1])
    diagonal = Line(points=((both[0], both[0]), (both[-1], both[-1])), style="mark")
    dots = [f'<circle class="dot" cx="{spot.x(x):.1f}" cy="{spot.y(y):.1f}" r="2.5"/>' for x, y in points]
    picture = [_opening(_WIDTH, _HEIGHT, label), *_grid(spot, both, both), *_line(diagonal, spot), *dots, "</svg>"]
    return _bounded("".join(picture), width=_WIDTH)  # often alone in its row, which would blow it up


def smooth(points: Points, *, window: int) -> list[tuple[float, float]]:
    """Return the running mean of the last *window* values at each point."""
    values: NDArray[np.float64] = np.cumsum([0.0, *(y for _, y in points)])
    ends = np.arange(1, len(points) + 1)
    starts = np.maximum(0, ends - window)
    means = (values[ends] - values[starts]) / (ends - starts)
    return [(x, float(mean)) for (x, _), mean in zip(points, means, strict=True)]


def matrix(counts: NDArray[np.int64], labels: Sequence[str]) -> str:
    """Return a confusion matrix; the darker a cell, the larger its share of its row."""
    size = len(labels)
    names = [_short(label) for label in labels]
    left = 16 + 7 * max(len(name) for name in names)
    width, height = left + size * _CELL + 8, left + size * _CELL + 8
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    parts = [_opening(width, height, "confusion matrix: a row for each expected, a column for each answered class")]
    for row in range(size):
        middle = left + row * _CELL + _CELL / 2
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(names[row])}</text>'
        )
        parts.append(
            f'<text class="tick" transform="translate({middle + 4:.0f} {left - 8}) rotate(-90)">{escape(names[row])}</text>'
        )
        parts += [_cell(counts, shares, labels, row, column, left) for column in range(size)]
    return _bounded("".join([*parts, "</svg>"]), width=width)


def _bounded(picture: str, *, width: int) -> str:
    """Return a picture that is never wider than *width* pixels."""
    return picture.replace("<svg ", f'<svg style="max-width:{width}px" ', 1)


def _cell(
    counts: NDArray[np.int64], shares: NDArray[np.float64], labels: Sequence[str], row: int, column: int, left: int
) -> str:
    x, y, share = left + column * _CELL, left + row * _CELL, float(shares[row, column])
    kind = "right" if row == column else "wrong"
    title = f"{labels[row]} answered as {labels[column]}: {counts[row, column]} ({share:.1%})"
    text = "strong" if share**0.7 > 0.55 else "cell"  # the root makes a few mistakes in a hundred visible
    number = f'<text class="{text}" x="{x + _CELL / 2:.0f}" y="{y + _CELL / 2 + 4:.0f}" text-anchor="middle">{counts[row, column]}</text>'
    return (
        f'<g><title>{escape(title)}</title><rect class="{kind}" x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" '
        f'height="{_CELL - 2}" rx="3" fill-opacity="{share or 0:.3f}"/>{number if counts[row, column] else ""}</g>'
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """The ranges of both axes, and where their values stand."""

    left: float
    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.left) / (self.right - self.left) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self.bottom) / (self.top - self.bottom) * (_HEIGHT - _TOP - _BOTTOM)


def _opening(width: int, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">'


def _grid(spot: _Frame, across: Sequence[float], up: Sequence[float]) -> list[str]:
    parts = []
    for value in up:
        y = spot.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.10g}</text>')
    parts += [
        f'<text class="tick" x="{spot.x(value):.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{value:.10g}</text>'
        for value in across
    ]
    return parts


def _line(line: Line, spot: _Frame) -> list[str]:
    places = [(spot.x(x), spot.y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="{line.style}" points="{path}"/>'] if len(places) > 1 else []
    if line.dots or len(places) == 1:
        parts += [
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>step {step:.10g}: {value:.4g}</title></circle>'
            for (x, y), (step, value) in zip(places, line.points, strict=True)
        ]
    return parts


def _short(label: str) -> str:
    return label if len(label) <= 16 else f"{label[:15]}..."
