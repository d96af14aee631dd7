"""On what, when and from what a model was trained, as lines for people."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bertjob_api import contract
from bertjob_trainer.course import START, STEP, Record


def facts(
    compute: Mapping[str, str], records: Sequence[Record], digests: Mapping[str, str], *, now: float
) -> dict[str, str]:
    """
    Return names and values.

    Args:
        compute: what it was computed with, as ``Machine.facts``; empty: only the script knows.
        records: the course of the run.
        digests: sha256 of the inputs.
        now: Unix time in seconds.

    """
    starts = [record for record in records if record.kind == START]
    steps = [record for record in records if record.kind == STEP]
    begun = starts[0].time if starts else now
    rates = sorted(record.values["samplesPerSecond"] for record in steps if "samplesPerSecond" in record.values)
    return {
        "started": _when(begun),
        "ended": _when(now),
        "duration": duration(now - begun),
        "starts of processes": f"{len(starts)} (1 means: nothing was lost or changed on the way)",
        "examples per second": f"{rates[len(rates) // 2]:.1f} (median)" if rates else "unknown",
        "processor": f"{processor()}, {os.cpu_count()} cores",
        **compute,
        "versions": f"bertjob {contract.release()}, Python {platform.python_version()}",
        "system": platform.platform(),
        **{f"sha256 of {name}": digest for name, digest in digests.items()},
    }


def processor(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model name of the first processor; its architecture where the system does not tell."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def duration(seconds: float) -> str:
    """Return a duration as ``1 h 02 min``, ``3 min 20 s`` or ``12 s``."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
