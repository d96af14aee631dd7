"""A program with an embedded cluster, a kubelet and one pod that spreads over several sessions; a test kills it."""

import asyncio
import sys
from pathlib import Path

from bertjob_local.embedded import EmbeddedCluster
from bertjob_local.kubelet import Kubelet

# A child with a session of its own, as torch's elastic agent starts its workers, and a grandchild below it.
SPREAD = """
import os, subprocess, sys, time
inner = "import os, subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
inner += " start_new_session=True, env={}); print(os.getpid(), p.pid, flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
print(os.getpid(), flush=True)
time.sleep(600)
"""


async def main(state: Path) -> None:
    cluster = EmbeddedCluster()
    container = {"name": "main", "command": ["python", "-u", "-c", SPREAD]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "spread"}, "spec": {"containers": [container]}}
    await cluster.apply(pod, manager="test")
    async with asyncio.TaskGroup() as group:
        group.create_task(cluster.run())
        group.create_task(Kubelet(cluster, ["node-0"], state).run())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
