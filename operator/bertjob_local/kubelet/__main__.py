"""The process kubelet on a real API server: ``python -m bertjob_local.kubelet --kubeconfig F --nodes N --state DIR``."""

import argparse
import asyncio
import logging
import signal
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bertjob_local.kubelet import log_server, lost_nodes, tokens
from bertjob_local.kubelet.kubelet import Kubelet
from bertjob_local.kubelet.nodes import address_of
from bertjob_local.kubelet.settings import Settings
from bertjob_operator.runtime.http import HttpCluster, connect


def main() -> None:
    """Run until SIGTERM or SIGINT; every pod's processes end with this one."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_until_signal(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bertjob_local.kubelet", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="whose cluster to join")
    parser.add_argument("--nodes", type=int, default=3, help="number of nodes to play (default: 3)")
    parser.add_argument(
        "--state",
        type=Path,
        required=True,
        help="folder for pods and logs; serving.crt, serving.key and ca.crt in it make kubectl logs work; "
        "a file lost/NODE in it loses that node",
    )
    parser.add_argument(
        "--images",
        type=Path,
        help="YAML file: pattern of image names to the command line that stands for the image's own",
    )
    return parser


async def _until_signal(options: argparse.Namespace) -> None:
    running = asyncio.ensure_future(_run(options))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return


async def _run(options: argparse.Namespace) -> None:
    names = [f"node-{number}" for number in range(options.nodes)]
    images = yaml.safe_load(options.images.read_text()) if options.images else {}
    async with connect(options.kubeconfig) as cluster:
        settings = Settings(
            images=images,
            tokens=tokens.from_api(cluster),
            api_server=api_server(cluster.address),
            heartbeat=timedelta(seconds=4),
            leases=True,
        )
        await _serve(cluster, names, options.state, settings)


def api_server(address: str) -> dict[str, str]:
    """
    Return the variables by which a program in a pod finds the API server at the URL *address*.

    Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".
    """
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"KUBERNETES_SERVICE_HOST": parts.hostname or "", "KUBERNETES_SERVICE_PORT": str(port)}


async def _serve(cluster: HttpCluster, names: list[str], state: Path, settings: Settings) -> None:
    kubelet = Kubelet(cluster, names, state, settings=settings)
    addresses = [address_of(number) for number in range(len(names))]
    context = log_server.tls(state) if (state / "serving.crt").exists() else None
    if context is None:  # the API server speaks TLS to kubelets, so logs stay in their files
        await _together(kubelet, state)
        return
    async with log_server.serving(addresses, find=kubelet.find_log, context=context) as ports:
        kubelet.log_ports.update(zip(names, ports, strict=True))
        await _together(kubelet, state)


async def _together(kubelet: Kubelet, state: Path) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(kubelet.run())
        group.create_task(lost_nodes.follow(kubelet, state / "lost"))


if __name__ == "__main__":
    main()
