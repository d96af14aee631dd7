"""What all benchmarks write: rows of figures, for people and as JSON."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

OUT: Final = Path(__file__).parents[2] / "build" / "bench"
Row = dict[str, Any]


def row(name: str, what: str, value: float, unit: str, **more: Any) -> Row:
    """Return one figure; *more*: ``better``, ``goal``, ``peers`` and ``roof``, each unset where there is none."""
    return {
        "id": name,
        "what": what,
        "value": value,
        "unit": unit,
        "better": "higher",
        "goal": None,
        "peers": {},
        "roof": None,
        **more,
    }


def write(name: str, rows: Sequence[Row], *, machine: Mapping[str, Any] | None = None, quietly: bool = False) -> Path:
    """
    Write *rows* to ``build/bench/NAME.json`` and return its path.

    Args:
        name: of the benchmark.
        rows: its figures; they are printed unless it is done *quietly*.
        machine: more about it than is always told.
        quietly: the benchmark has printed them in its own way.

    """
    for each in () if quietly else rows:
        notes = [f"{key} {each[key]:.4g}" for key in ("goal", "roof") if each[key] is not None]
        sys.stdout.write(f"{each['what']:76} {each['value']:10.4g} {each['unit']:12} {', '.join(notes)}\n")
    known = {"cpus": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()}
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"machine": {**known, **(machine or {})}, "rows": list(rows)}, indent=2) + "\n")
    return path
