"""How soon another operator leads on a real API server when the leader is killed, and when it is asked to end."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from support.benching import Row, row
from support.cluster import install_crd

from bertjob_api.cluster import LEASE, Cluster
from bertjob_local.parts import API_ONLY, LocalCluster, Settings
from bertjob_operator.runtime.http import connect

NAMESPACE: Final = "default"
NAME: Final = "bertjob-operator"


def rows() -> list[Row]:
    """Return a row for each way to end."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = LocalCluster.up(Path(folder), Settings(parts=API_ONLY, owner_pid=os.getpid()))
        try:
            install_crd(cluster)
            killed, ended = asyncio.run(_takeovers(Path(cluster.env()["KUBECONFIG"])))
        finally:
            cluster.down(delete=True)
    return [
        row(
            "takeover-after-kill",
            "another operator leads after kill -9 of the leader",
            killed,
            "s",
            better="lower",
            goal=20,
        ),
        row("takeover-after-sigterm", "another operator leads after SIGTERM", ended, "s", better="lower", goal=3),
    ]


async def _takeovers(kubeconfig: Path) -> tuple[float, float]:
    """Return the seconds from the end of a leader to the next one, after SIGKILL and after SIGTERM."""
    async with connect(kubeconfig) as cluster, _operator(kubeconfig, "first") as first:
        await _leader(cluster, "first")
        async with _operator(kubeconfig, "second") as second, _operator(kubeconfig, "third") as third:
            await asyncio.sleep(5)  # both have read the Lease and wait
            begin = time.monotonic()
            first.send_signal(signal.SIGKILL)
            leader = await _leader(cluster, "second", "third")
            killed = time.monotonic() - begin
            begin = time.monotonic()
            (second if leader == "second" else third).send_signal(signal.SIGTERM)
            await _leader(cluster, "third" if leader == "second" else "second")
            return killed, time.monotonic() - begin


@asynccontextmanager
async def _operator(kubeconfig: Path, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    argv = ("-m", "bertjob_operator", f"--kubeconfig={kubeconfig}", "--health-port=0", "--health-host=127.0.0.1")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *argv, f"--lease-namespace={NAMESPACE}", f"--lease-name={NAME}", "--log-level=ERROR"),
        env={**os.environ, "POD_NAME": name},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _leader(cluster: Cluster, *names: str) -> str:
    """Return which of *names* leads, once one does."""
    async for change in cluster.changes(LEASE, namespace=NAMESPACE):
        holder = (change.object.get("spec") or {}).get("holderIdentity") or ""
        found = holder.rpartition("-")[0]
        if found in names:
            return found
    raise AssertionError("a watch never ends")
