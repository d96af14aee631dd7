"""Times as Kubernetes spells them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_UNITS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def instant(text: str | None) -> datetime | None:
    """Return an RFC 3339 time as an aware datetime; None stays None."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def stamp(moment: datetime) -> str:
    """Return the spelling of ``metav1.Time``: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(moment: datetime) -> str:
    """Return the spelling of ``metav1.MicroTime``: UTC, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def duration(text: str) -> timedelta:
    """Return a Go-style duration such as ``1h30m``; the API has checked its form."""
    parts = re.findall(r"(\d+)(ms|h|m|s)", text)
    assert parts, f"not a duration: {text!r}"
    return timedelta(milliseconds=sum(int(count) * _UNITS[unit] for count, unit in parts))


def words(span: timedelta) -> str:
    """Return a time span for people: ``90 s``, ``10 min``."""
    seconds = round(span.total_seconds())
    return f"{seconds // 60} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} s"


def from_unix(seconds: float) -> str:
    """Return a Unix time in the spelling of ``metav1.Time``."""
    return stamp(datetime.fromtimestamp(seconds, UTC))
