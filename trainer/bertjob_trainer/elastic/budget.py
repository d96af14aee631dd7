"""
How often workers may fail before a pod gives up. Pure.

A worker that fails after new steps has cost time, nothing else, and is started again at once. Failures without a new step in
between point to a fault that trying again does not cure: they are counted.
"""

from dataclasses import dataclass, replace
from typing import Final

_KILLED_LIMIT: Final = 10
"""Kills by signal are mostly the outside's doing; a program that is always killed (memory) still has to end."""
_LEAST_LIMIT: Final = 3
"""A lost neighbour makes healthy workers fail too, so even a job that tolerates no failure needs some."""
_LONG_RUN_S: Final = 300.0
"""A run of this length counts as progress where no steps are reported (own scripts)."""
_LONGEST_DELAY_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What has happened so far."""

    limit: int
    """Failures in a row, without progress, that are tolerated."""
    failures: int = 0
    """Failures since the newest progress."""
    best_step: int | None = None
    """Highest optimizer step ever reported; None: none was."""

    @property
    def delay_s(self) -> float:
        """Return how long to wait before the next start, in seconds: 0 after the first failure, then 2, 4, 8, ... 30."""
        return 0.0 if self.failures <= 1 else min(2.0 ** (self.failures - 1), _LONGEST_DELAY_S)


def after_failure(budget: Budget, *, step: int | None, ran_s: float, killed: bool) -> tuple[Budget, bool]:
    """
    Return the budget after one more failure, and whether another start is allowed.

    Args:
        budget: before.
        step: highest step reported so far; None: none.
        ran_s: seconds the failed workers ran.
        killed: a signal ended them, not the program itself.

    """
    moved = step is not None and (budget.best_step is None or step > budget.best_step)
    progressed = moved or (step is None and ran_s >= _LONG_RUN_S)
    failures = 1 if progressed else budget.failures + 1
    best = step if moved else budget.best_step
    limit = max(budget.limit, _KILLED_LIMIT if killed else _LEAST_LIMIT)
    return replace(budget, failures=failures, best_step=best), failures <= limit
