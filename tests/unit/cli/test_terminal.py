"""Changing lines are redrawn on a terminal and appended elsewhere."""

import io

import pytest
from support.async_waiting import until
from support.jobs import a_job

from bertjob_cli import view
from bertjob_cli.terminal import QUIET_S, SIGNS, Display


@pytest.fixture(autouse=True)
def _able_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the tests, the terminal is one that can go back."""
    monkeypatch.setenv("TERM", "xterm")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def _lines(**status: object) -> list[str]:
    return view.screen({**a_job(optimize={}), "status": status})


ACCEPTED = {"type": "Accepted", "status": "True", "message": "storage, data and model are reachable"}


def test_every_wanted_phase_has_its_line() -> None:
    """Phases that the spec leaves out are not shown; those that are done are marked."""
    lines = _lines(conditions=[ACCEPTED], training={"step": 5, "total": 20, "loss": 1.5, "samplesPerSecond": 30.0})

    assert [line.split()[0] for line in lines] == ["done", "train", "optimize", "gate"]
    assert "5/20 steps, loss 1.500, 30 texts/s" in lines[1]
    assert lines[1].count("#") * 3 == lines[1].count(".", lines[1].index("["), lines[1].index("]"))


def test_log_repeats_nothing_and_waits_between_progress() -> None:
    """The same line comes once, progress of one phase at most every few seconds, an end of a phase at once."""
    stream, now = io.StringIO(), [0.0]
    display = Display(stream, clock=lambda: now[0])
    for step, at in ((1, 0.0), (2, 1.0), (2, QUIET_S), (3, QUIET_S + 1)):
        now[0] = at
        display.show(_lines(conditions=[ACCEPTED], training={"step": step, "total": 4}))
    display.show(_lines(conditions=[ACCEPTED, {"type": "Trained", "status": "True", "message": "at a"}]))

    shown = [line.split("] ")[-1] for line in stream.getvalue().splitlines() if "train" in line]
    assert shown == ["1/4 steps", "2/4 steps", "  done  train      at a"]


def test_terminal_is_redrawn_in_place() -> None:
    """The cursor goes back over what was drawn; the phase that goes on has a sign and its seconds."""
    stream, now = Screen(), [10.0]
    display = Display(stream, clock=lambda: now[0])
    display.show(_lines(conditions=[ACCEPTED]))
    now[0] = 13.0
    display.show(_lines(conditions=[ACCEPTED]))

    last = stream.getvalue().rsplit("\x1b[4F", maxsplit=1)
    assert len(last) == 2
    going = last[1].splitlines()[1]
    assert going.removeprefix("\x1b[2K").split()[:4] == [SIGNS[0], "train", "3", "s"]


async def test_sign_turns_while_nothing_changes() -> None:
    """A phase without news is still seen to go on."""
    stream = Screen()
    display = Display(stream)
    async with display.alive():
        display.show(_lines(conditions=[ACCEPTED]))
        await until(lambda: f"  {SIGNS[2]}     train" in stream.getvalue())

    assert f"  {SIGNS[1]}     train" in stream.getvalue()


def test_log_names_only_what_the_job_has_come_to() -> None:
    """Phases that are still to come are no lines of a log."""
    stream = io.StringIO()
    waiting = {"status": "Unknown", "message": "the job has not come so far"}
    Display(stream).show(
        _lines(conditions=[ACCEPTED, *({"type": kind, **waiting} for kind in ("Trained", "Optimized"))])
    )

    assert [line.split()[:2] for line in stream.getvalue().splitlines()] == [["done", "preflight"], ["train", "the"]]


def test_dumb_terminal_gets_no_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that cannot go back, such as an editor's, gets the lines of a log."""
    monkeypatch.setenv("TERM", "dumb")
    stream = Screen()
    Display(stream).show(_lines(conditions=[ACCEPTED]))

    assert "\x1b" not in stream.getvalue()
    assert "storage, data and model are reachable" in stream.getvalue()
