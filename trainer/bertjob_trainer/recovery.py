"""How long a worker stood still between two rounds, and where that time went."""

from dataclasses import dataclass, field
from typing import Final

from bertjob_api.progress import Recovered

PHASES: Final = ("detect", "place", "form", "restore", "first step")
"""
What a survivor does after its last whole step, in order: work on the step that breaks off until it notices; wait for its place,
that is for launchers and rendezvous; wait for the others and connect; agree on the state and take it; the first step.
"""


@dataclass(slots=True)
class Recovery:
    """A stopwatch for the phases; each begins where the one before ended."""

    newest: Recovered | None = None
    """The last one that is over; None: there was none."""
    _seconds: dict[str, float] = field(default_factory=dict)
    _since: float | None = None
    """None: nothing is measured, as in a new worker's first round."""
    _is_loss: bool = False

    def stepped(self, now: float) -> str | None:
        """Note a whole step at monotonic time *now*, and return how the recovery that it ends went; None: it ends none."""
        self.reached("first step", now)
        told = None
        if self._seconds:
            self.newest = self._over()
            told = sentence(self.newest)
        self._seconds, self._since, self._is_loss = {}, now, False
        return told

    def lost(self, now: float, *, is_loss: bool) -> None:
        """Note that the round is over: because a process was lost, or because the processes change."""
        self._is_loss |= is_loss
        if self._since is not None:
            self._add("detect", now)

    def reached(self, phase: str, now: float) -> None:
        """Note the end of a phase; nothing when no recovery is under way."""
        if self._seconds:
            self._add(phase, now)

    def _add(self, phase: str, now: float) -> None:
        assert self._since is not None, "a phase has a beginning; this is a bug"
        # Added up: when another worker is lost meanwhile, phases come again.
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._since
        self._since = now

    def _over(self) -> Recovered:
        spent = {phase: round(self._seconds.get(phase, 0.0), 3) for phase in PHASES}
        return Recovered(
            reason="Loss" if self._is_loss else "Resize",
            seconds=round(sum(self._seconds.values()), 3),
            detect=spent["detect"],
            place=spent["place"],
            form=spent["form"],
            restore=spent["restore"],
            first_step=spent["first step"],
        )


def sentence(recovered: Recovered) -> str:
    """Return a recovery for the log."""
    spent = (recovered.detect, recovered.place, recovered.form, recovered.restore, recovered.first_step)
    split = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in zip(PHASES, spent, strict=True))
    why = "a loss" if recovered.reason == "Loss" else "a change of size"
    return f"stepping again after {recovered.seconds:.2f} s ({why}): {split}"
