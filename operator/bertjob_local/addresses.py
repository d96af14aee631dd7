"""Loopback addresses, and the ports that this user may listen on."""

import ipaddress
import os
import secrets
from functools import cache
from pathlib import Path

_FIRST_OPEN = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
SHIFT = 8000
"""Added to a port that needs root: 80 becomes 8080."""


@cache
def first_open_port() -> int:
    """Return the lowest port that this user may listen on."""
    if os.geteuid() == 0:
        return 0
    try:
        return int(_FIRST_OPEN.read_text())
    except (OSError, ValueError):
        return 1024


def open_port(port: int, *, first: int | None = None) -> int:
    """Return *port*, shifted if it needs more rights than this user has; *first*: the lowest open port, None: look."""
    return port if port >= (first_open_port() if first is None else first) else port + SHIFT


def authority(host: str, *, port: int) -> str:
    """Return ``host:port`` of a Service's port as it is reached here, without the port where that is http's own."""
    reached = open_port(port)
    return host if reached == 80 else f"{host}:{reached}"


class PodAddresses:
    """Gives every pod an address of its own in 127.128.0.0/9, starting at random so that two kubelets do not meet."""

    def __init__(self) -> None:
        self._next = secrets.randbelow(1 << 23)
        self._taken: set[str] = set()

    def take(self) -> str:
        """Return an address that no other pod of this kubelet has."""
        while True:
            self._next = (self._next + 1) % (1 << 23)
            address = str(ipaddress.IPv4Address((127 << 24 | 1 << 23) + self._next))
            if address not in self._taken and self._next & 0xFF not in (0, 0xFF):
                self._taken.add(address)
                return address

    def give_back(self, address: str) -> None:
        """Make an address free again."""
        self._taken.discard(address)
