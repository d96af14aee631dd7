"""Hosts as network namespaces with links of a given rate; root only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

LINK_GIGABITS = 0.5
"""Rate of every link: faster ones would measure this machine's processors, which move the bytes of all hosts."""
_SHAPE = ("tbf", "rate", f"{LINK_GIGABITS:g}gbit", "burst", "128kb", "latency", "50ms")


def why_not() -> str | None:
    """Return why no hosts can be made here; None: they can."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces; run it as root on a machine of your own"
    lacking = [name for name in ("ip", "tc") if shutil.which(name) is None]
    return f"needs {' and '.join(lacking)} (package iproute2)" if lacking else None


@contextmanager
def hosts(count: int) -> Iterator[list[tuple[str, str]]]:
    """Give so many hosts, name and address, on one switch; each sends and receives at ``LINK_GIGABITS``."""
    tag = f"bj{os.getpid() % 100_000}"
    switch, found = f"{tag}s", [(f"{tag}h{index}", f"10.213.0.{index + 1}") for index in range(count)]
    try:
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, "link", "add", "name", "sw0", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "sw0", "up")
        for index, (name, address) in enumerate(found):
            port = f"p{index}"
            _run("ip", "netns", "add", name)
            _run("ip", "-n", switch, "link", "add", "name", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "-n", switch, "link", "set", port, "master", "sw0", "up")
            _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run("ip", "-n", name, "link", "set", device, "up")
            _run("tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", *_SHAPE)
            _run("tc", "-n", switch, "qdisc", "add", "dev", port, "root", *_SHAPE)
        yield found
    finally:
        for name, _ in (*found, (switch, "")):
            subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
