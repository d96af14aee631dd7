"""Kubernetes quantities such as 500m or 2Gi. Pure. Source: Kubernetes API reference, "Quantity"."""

import math
import re
from decimal import Decimal

_SUFFIXES = {"": Decimal(1), "m": Decimal("0.001")}
_SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)}
_SUFFIXES |= {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}


def number(text: str) -> Decimal:
    """Return the number that a quantity stands for; raises ValueError."""
    found = re.fullmatch(r"([0-9.]+(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)", text)
    if found is None or found[2] not in _SUFFIXES:
        raise ValueError(f"{text!r} is no quantity; expected a number such as 2, 500m or 1Gi")
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def scaled(text: str, *, divisor: str) -> int:
    """Return how many of *divisor* a quantity is, rounded up, as the downward API does."""
    return math.ceil(number(text) / number(divisor))
