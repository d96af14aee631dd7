"""What the CPU under this process offers: how many cores it may use, and which INT8 instructions it has."""

import os
from pathlib import Path
from typing import Final

INT8_FEATURES: Final = ("avx512_vnni", "avx_vnni", "i8mm", "asimddp")
"""
Instructions that add up products of 8-bit numbers without saturating, fastest first, as /proc/cpuinfo spells them.

Without one of them INT8 runs on 16-bit intermediate sums: hardly faster than float32, and with other results.
"""
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_CPUINFO: Final = Path("/proc/cpuinfo")


def available() -> int:
    """Return how many CPUs this process may keep busy: its affinity, or its cgroup's quota rounded up when that is less."""
    cores = len(os.sched_getaffinity(0))
    quota = _quota(_QUOTA.read_text(encoding="ascii")) if _QUOTA.is_file() else None
    return cores if quota is None else max(1, min(cores, quota))


def features() -> frozenset[str]:
    """Return the flags of the first CPU; empty where the system has no /proc/cpuinfo."""
    return frozenset(_field(_cpuinfo(), "flags").split() or _field(_cpuinfo(), "Features").split())


def model() -> str:
    """Return the CPU's type for reports and for telling whether two measurements can be compared."""
    info = _cpuinfo()
    parts = (_field(info, "model name"), _field(info, "cpu family"), _field(info, "model"), _field(info, "stepping"))
    return " / ".join(part for part in parts if part) or "unknown"


def int8_feature(flags: frozenset[str]) -> str | None:
    """Return the fastest INT8 feature among *flags*, or None when the CPU has none."""
    return next((feature for feature in INT8_FEATURES if feature in flags), None)


def _quota(text: str) -> int | None:
    """Return the CPUs in the content of a cgroup v2 ``cpu.max``, rounded up; None: unlimited."""
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" or not period else -(-int(quota) // int(period))


def _cpuinfo() -> str:
    return _CPUINFO.read_text(encoding="utf-8") if _CPUINFO.is_file() else ""


def _field(info: str, name: str) -> str:
    """Return the value of the first line ``name : value``, or "" when there is none."""
    for line in info.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return ""
