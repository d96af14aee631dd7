"""Loss and throughput over time, as lines of text. Pure."""

from collections.abc import Iterator

from benchmarks.elastic.legs import BATCH, Leg


def rates(leg: Leg, *, window_s: float) -> Iterator[tuple[float, float]]:
    """Give for each point its time and the samples per second over the last *window_s* before it."""
    first = 0
    for at, step, _ in leg.points:
        while leg.points[first][0] < at - window_s:
            first += 1
        # From the point before the window on, so that a standstill is seen in full.
        then, before, _ = leg.points[max(0, first - 1)]
        if at - then > window_s / 2:
            yield at, (step - before) * BATCH / (at - then)


def lines(leg: Leg, *, every_s: float) -> Iterator[str]:
    """Give a line for each *every_s*: seconds, step, loss, samples per second, and what happened."""
    yield f"{'s':>7} {'step':>7} {'loss':>8} {'samples/s':>10}"
    start, last = leg.points[0][0], leg.points[0]
    for number in range(1, int((leg.ended - start) / every_s) + 1):
        begin, end = start + (number - 1) * every_s, start + number * every_s
        inside = [point for point in leg.points if begin <= point[0] < end]
        newest = inside[-1] if inside else last
        loss = "-" if newest[2] is None else f"{newest[2]:.4f}"
        happened = ", ".join(what for at, what in leg.events if begin <= at < end)
        rate = (newest[1] - last[1]) * BATCH / every_s
        yield f"{end - start:7.0f} {newest[1]:7} {loss:>8} {rate:10.1f}  {happened}".rstrip()
        last = newest
