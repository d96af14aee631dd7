"""What this node offers: processors, and the network interface of the pod's address."""

import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")
_SIOCGIFADDR: Final = 0x8915
"""Source: netdevice(7)."""


def processors() -> int:
    """Return the processors this pod may use, at least 1: the smaller of affinity and cgroup quota."""
    usable = len(os.sched_getaffinity(0))
    try:
        quota = quota_of(_CPU_MAX.read_text())
    except OSError:
        quota = None
    return max(1, usable if quota is None else min(usable, int(quota)))


def quota_of(text: str) -> float | None:
    """Return the processors in the content of ``cpu.max``, or None without a limit (Source: Linux, cgroup-v2)."""
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" or not period else int(quota) / int(period)


def threads(cores: int, *, processes: int) -> int:
    """Return the threads each of *processes* workers should use, at least 1."""
    return max(1, cores // processes)


def interface_of(address: str) -> str | None:
    """Return the network interface that has the IPv4 *address*; None: none has, or it cannot be found out."""
    if address.startswith("127."):
        return "lo"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without address
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
