"""Losing nodes from outside: a file ``STATE/lost/NODE`` loses the node, its removal brings it back."""

import asyncio
from pathlib import Path

from bertjob_local.kubelet.kubelet import Kubelet

_POLL_S = 0.2


async def follow(kubelet: Kubelet, folder: Path) -> None:
    """Lose and heal the nodes as the files in *folder* say, until cancelled."""
    lost: set[str] = set()
    while True:
        wanted = set(kubelet.nodes) & _names(folder)
        for name in wanted - lost:
            await kubelet.kill_node(name)
        for name in lost - wanted:
            await kubelet.heal_node(name)
        lost = wanted
        await asyncio.sleep(_POLL_S)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
