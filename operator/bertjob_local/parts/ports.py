"""Free TCP ports on loopback, outside the range from which the kernel gives ports to clients."""

import random
import socket
from dataclasses import dataclass, fields
from pathlib import Path

# A port from bind(0) lies in the client range. While its server is down, a client that keeps
# connecting to it may be given that very port as its own and connect to itself, and the server
# cannot come back. Fault tests do exactly that, so servers live below the range.
_CLIENT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000


@dataclass(frozen=True, slots=True)
class Ports:
    """One port per listening socket of the cluster."""

    etcd_client: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    s3: int
    kserve_webhook: int
    kserve_metrics: int
    kserve_health: int


def free_ports() -> Ports:
    """Return ports that nothing listens on; RuntimeError when there are not enough."""
    wanted = len(fields(Ports))
    found: list[int] = []
    for port in random.SystemRandom().sample(_candidates(), k=2_000):
        if _is_free(port):
            found.append(port)
        if len(found) == wanted:
            return Ports(*found)
    msg = f"only {len(found)} of {wanted} ports are free among 2000 tried; stop other servers"
    raise RuntimeError(msg)


def _candidates() -> range:
    try:
        low, high = (int(word) for word in _CLIENT_RANGE.read_text().split())
    except OSError:
        low, high = 32_768, 60_999
    below, above = range(_LOWEST, low), range(high + 1, 65_536)
    return max(below, above, key=len)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
