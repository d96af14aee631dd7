"""What happened when: phases from the job's conditions, and what the demo itself did."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

PHASES: Final = {
    "Accepted": "preflight passed",
    "Trained": "trained",
    "Optimized": "INT8 built and measured",
    "GatePassed": "gate passed",
    "RolledOut": "served",
    "Succeeded": "succeeded",
}
WIDTH: Final = 36


@dataclass(slots=True)
class Timeline:
    """Moments of one run, in seconds from its start."""

    start: float = field(default_factory=time.monotonic)
    moments: list[tuple[float, str]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        """Add what happened now."""
        self.moments.append((time.monotonic() - self.start, text))

    def follow(self, job: dict[str, Any]) -> None:
        """Add each condition of the job that has just become true."""
        for condition in job.get("status", {}).get("conditions", ()):
            kind = condition["type"]
            if condition["status"] == "True" and kind in PHASES and kind not in self._seen:
                self._seen.add(kind)
                self.note(PHASES[kind])

    def lines(self) -> list[str]:
        """Return a line for each moment, with a mark where on the way it lies."""
        end = max((at for at, _ in self.moments), default=0.0) or 1.0
        return [f"  {at:6.1f} s  {'-' * round(at / end * WIDTH):<{WIDTH}}|  {text}" for at, text in self.moments]
