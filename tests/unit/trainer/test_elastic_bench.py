"""What the benchmark of elasticity reads and draws."""

from xml.etree import ElementTree as ET

from benchmarks.elastic import legs, picture, timeline
from benchmarks.elastic.legs import Leg

from bertjob_api.progress import Recovered
from bertjob_trainer import recovery


def test_log_lines_are_read() -> None:
    """Recoveries from losses are found in a log with their phases, others are not."""
    times = {"seconds": 2.5, "detect": 0.5, "place": 1.0, "form": 0.25, "restore": 0.25, "first_step": 0.5}
    lines = [recovery.sentence(Recovered(reason=reason, **times)) for reason in ("Loss", "Resize")]
    (found,) = legs.told("\n".join(f"[rank 0] 12:00 rank 0 INFO x: {line}" for line in lines))
    assert found == {
        "seconds": 2.5,
        "detect": 0.5,
        "place": 1.0,
        "form": 0.25,
        "restore": 0.25,
        "first step": 0.5,
    }


def test_time_lost_is_from_the_kill_to_a_new_step() -> None:
    """Steps that are done again do not count as an end of the standstill."""
    leg = Leg(points=[(0.0, 1, None), (1.0, 2, None), (5.0, 1, None), (6.0, 2, None), (7.0, 3, None), (8.0, 4, None)])
    leg.events.append((1.5, "kill"))
    assert leg.stood_still() == [6.5]
    leg.ended = 12.0  # what stands still to the end has trained nothing then
    assert leg.rate() == 3 / 12


def test_loss_and_throughput_are_told_over_time() -> None:
    """A line for each stretch of time has step, loss, samples per second and events; in a standstill the rate falls to nothing."""
    points = [(100.0, 1, 0.9), (101.0, 2, 0.8), (104.9, 3, 0.7), (105.5, 4, 0.6)]
    leg = Leg(points=points, events=[(101.5, "kill")], ended=106.0)

    told = [line.split() for line in timeline.lines(leg, every_s=2.0)]
    rates = dict(timeline.rates(leg, window_s=1.0))

    assert told[1:] == [
        ["2", "2", "0.8000", "16.0", "kill"],
        ["4", "2", "0.8000", "0.0"],
        ["6", "4", "0.6000", "32.0"],
    ]
    assert rates[104.9] == legs.BATCH / (104.9 - 101.0)


def test_picture_is_an_svg_with_every_curve_and_event() -> None:
    """Two panels have two curves each and a line for each event; what people wrote cannot break it."""
    curve = [(0.0, 1.0), (10.0, 0.5)]
    text = picture.svg([("loss", curve, curve), ("rate", curve, curve)], [(5.0, "a < b")], caption="x & y")
    root = ET.fromstring(text)  # noqa: S314  # our own text
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}polyline")) == 4
    assert len([line for line in root.iter(f"{space}line") if line.get("class") == "event"]) == 2
