"""What can be told of a model's answers to held-out data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bertjob_tasks.encoding import Encoded

MOST_MISTAKES: Final = 20
MOST_POINTS: Final = 500
"""Points of a picture: more make the file large and show no more."""
NOTHING: Final = "no answer"
"""Answer to a question that the text does not answer."""
HOW_SURE: Final = "how sure"
RANKS_OFF: Final = "ranks off"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClass:
    """How well one class is found."""

    label: str
    precision: float
    recall: float
    f1: float
    expected: int
    """Held-out examples that have it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mistake:
    """One wrong answer."""

    index: int
    """Which held-out example, from 0."""
    expected: str
    answered: str
    weight: str
    """How wrong, as ``Analysis.weighed`` says."""
    read: tuple[Encoded, ...] = ()
    """What of the example's inputs is worth reading; none: the input of this index."""
    around: str = ""
    """Text of the data around what was expected or answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Two pieces of the vocabulary of which one was often answered for the other."""

    expected: int
    answered: int
    times: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """Findings of one task; whatever does not apply is empty."""

    labels: tuple[str, ...] = ()
    confusion: NDArray[np.int64] | None = None
    """(C, C): rows are what is expected, columns what was answered."""
    classes: tuple[OfClass, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    """The worst ones first."""
    weighed: str = HOW_SURE
    """What ``Mistake.weight`` says."""
    quotes: bool = False
    """Whether what was expected and answered is text of the data."""
    points: tuple[tuple[float, float], ...] = ()
    """Expected and answered numbers."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Held-out examples by how their answer came out."""
    chances: Mapping[str, float] = field(default_factory=dict)
    """By metric: what one gets who always answers the commonest."""
    mixed: tuple[Mixed, ...] = ()
    """The most frequent ones first."""
