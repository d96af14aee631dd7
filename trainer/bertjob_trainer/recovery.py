"""How long a worker stood still between two rounds, and where that time went."""

from dataclasses import dataclass, field
from typing import Final

PHASES: Final = ("detect", "place", "form", "restore", "first step")
"""
What a survivor does after its last whole step, in order: work on the step that breaks off until it notices; wait for its place,
that is for launchers and rendezvous; wait for the others and connect; agree on the state and take it; the first step.
"""


@dataclass(slots=True)
class Recovery:
    """A stopwatch for the phases; each begins where the one before ended."""

    _seconds: dict[str, float] = field(default_factory=dict)
    _since: float | None = None
    """None: nothing is measured, as in a new worker's first round."""

    def stepped(self, now: float) -> str | None:
        """Note a whole step at monotonic time *now*, and return how the recovery that it ends went; None: it ends none."""
        self.reached("first step", now)
        told = None
        if self._seconds:
            split = ", ".join(f"{phase} {self._seconds[phase]:.2f}" for phase in PHASES if phase in self._seconds)
            told = f"stepping again after {sum(self._seconds.values()):.2f} s: {split}"
        self._seconds, self._since = {}, now
        return told

    def lost(self, now: float) -> None:
        """Note that the round is over."""
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
