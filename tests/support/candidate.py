"""
``python -m support.candidate KUBECONFIG NAMESPACE LEASE IDENTITY``: a process that wants to lead.

Prints ``leads`` when it does and ``ended`` after it stopped by itself; SIGTERM ends it as it ends the operator.
"""

import asyncio
import contextlib
import signal
import sys
from datetime import timedelta
from pathlib import Path

from bertjob_operator.runtime.http import connect
from bertjob_operator.runtime.lease import Elector, Terms

TERMS = Terms(lease=timedelta(seconds=3), renew=timedelta(seconds=2), retry=timedelta(seconds=0.2))


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _lead() -> None:
    _say("leads")
    try:
        await asyncio.Event().wait()
    finally:
        _say("ended")


async def _main(kubeconfig: str, namespace: str, lease: str, identity: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with connect(Path(kubeconfig)) as cluster:
        await Elector(cluster, namespace=namespace, name=lease, identity=identity, terms=TERMS).run(_lead)


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_main(*sys.argv[1:]))
