"""Loss and throughput over time, disturbed and undisturbed, as an SVG that is read in light and in dark. Pure."""

from collections.abc import Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, TOP, GAP = 860, 190, 64, 46, 56
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
    most = max((y for curve in curves for _, y in curve), default=1.0) * 1.05 or 1.0
    place = lambda x, y: f"{LEFT + WIDTH * x / last:.1f},{top + HEIGHT * (1 - y / most):.1f}"  # noqa: E731
    parts = [f'<text class="t" x="{LEFT}" y="{top + 14}">{escape(title)}</text>']
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
    parts.append(f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 28}" text-anchor="end">{last:.0f} s</text>')
    return parts
