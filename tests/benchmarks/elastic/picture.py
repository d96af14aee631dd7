"""Loss and throughput over time, disturbed and undisturbed, as an SVG that is read in light and in dark. Pure."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, TOP, GAP = 860, 190, 64, 66, 74
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#555}.t{font-weight:600}.grid{stroke:#8884}.event{stroke:#c33;stroke-dasharray:3 3}"
    ".ours{stroke:#1668b8;fill:none;stroke-width:1.8}.calm{stroke:#999;fill:none;stroke-width:1.4}"
    "@media(prefers-color-scheme:dark){text{fill:#bbb}.ours{stroke:#6fb3ff}.event{stroke:#f77}}"
)


def svg(panels: Sequence[tuple[str, Points, Points]], events: Sequence[tuple[float, str]], *, caption: str) -> str:
    """
    Return the picture.

    Args:
        panels: title, disturbed and undisturbed curve of each; x in seconds.
        events: when what happened.
        caption: one line below the title.

    """
    last = max(x for _, ours, calm in panels for x, _ in (*ours, *calm))
    height = TOP + len(panels) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 30} {height}" role="img">',
        f"<style>{_STYLE}</style>",
        f'<text class="t" x="{LEFT}" y="16">{escape(caption)}</text>',
        f'<line class="ours" x1="{LEFT}" y1="30" x2="{LEFT + 24}" y2="30"/><text x="{LEFT + 30}" y="34">disturbed</text>',
        f'<line class="calm" x1="{LEFT + 110}" y1="30" x2="{LEFT + 134}" y2="30"/>',
        f'<text x="{LEFT + 140}" y="34">undisturbed</text>',
    ]
    for number, (title, ours, calm) in enumerate(panels):
        parts += _panel(title, (ours, calm), events, top=TOP + number * (HEIGHT + GAP), last=last)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    title: str, curves: tuple[Points, Points], events: Sequence[tuple[float, str]], *, top: float, last: float
) -> list[str]:
    most = _round(max((y for curve in curves for _, y in curve), default=1.0))
    place = lambda x, y: f"{LEFT + WIDTH * x / last:.1f},{top + HEIGHT * (1 - y / most):.1f}"  # noqa: E731
    parts = [f'<text class="t" x="{LEFT}" y="{top - 9}">{escape(title)}</text>']
    for fraction in (0.0, 0.5, 1.0):
        y = top + HEIGHT * (1 - fraction)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDTH}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{most * fraction:.3g}</text>')
    for at, what in events:
        x = LEFT + WIDTH * at / last
        parts.append(f'<line class="event" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + HEIGHT}"/>')
        parts.append(f'<text x="{x + 3:.1f}" y="{top + HEIGHT + 14}" font-size="10">{escape(what)}</text>')
    for name, curve in (("calm", curves[1]), ("ours", curves[0])):
        if curve:
            line = " ".join(place(x, y) for x, y in curve)
            parts.append(f'<polyline class="{name}" points="{line}"/>')
    for second in _ticks(last):
        x = LEFT + WIDTH * second / last
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top + HEIGHT}" x2="{x:.1f}" y2="{top + HEIGHT + 4}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{top + HEIGHT + 29}" text-anchor="middle" font-size="10">{second:g} s</text>'
        )
    return parts


def _round(most: float) -> float:
    """Return the end of an axis that has room for *most*: a number whose half is short."""
    size = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    return next(each * size for each in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if each * size >= most)


def _ticks(last: float) -> list[float]:
    """Return about eight round times up to *last*."""
    step = next((each for each in (1, 2, 5, 10, 20, 30, 60, 120, 300) if last / each <= 9), 600)
    return [float(each) for each in range(0, int(last) + 1, step)]
