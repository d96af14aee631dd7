"""``bertjob logs``: what the pods of a BertJob on a cluster said."""

import argparse
import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from bertjob_api import names
from bertjob_cli import cluster
from bertjob_cli.cluster import is_configured
from bertjob_local import binaries

COMPONENTS = (names.PREFLIGHT, names.STORE, names.TRAIN, names.OPTIMIZE)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "logs",
        help="logs of a BertJob's pods on a cluster",
        description="Show the logs of a BertJob's pods, each line after its pod's name. Needs kubectl.",
        epilog="example: bertjob logs quickstart -c train -f",
    )
    parser.add_argument("name", help="name of the BertJob")
    parser.add_argument("-n", "--namespace", default="default", help="of the BertJob; default: %(default)s")
    parser.add_argument("-c", "--component", choices=COMPONENTS, help="only these pods")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as they say more")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Return kubectl's exit code."""
    found = shutil.which("kubectl") or binaries.locate("kubectl")
    if found is None:
        raise ValueError("kubectl: is not in PATH; install it, or build it with `python -m bertjob_local.binaries`")
    if not is_configured(os.environ):
        raise ValueError("no cluster: KUBECONFIG is not set, ~/.kube/config is not there, and this is no pod")
    asyncio.run(_require(options.namespace, options.name))
    done = subprocess.run(argv(Path(found), options), check=False)
    return done.returncode


async def _require(namespace: str, name: str) -> None:
    """Refuse what is not there: of no pods kubectl shows nothing and succeeds, and without a cluster it guesses one."""
    async with cluster.connected() as found:
        await cluster.get(found, namespace, name)


def argv(kubectl: Path, options: argparse.Namespace) -> list[str]:
    """Return the kubectl command that *options* ask for."""
    labels = {names.JOB_LABEL: options.name}
    if options.component is not None:
        labels[names.COMPONENT_LABEL] = options.component
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    words = [str(kubectl), "logs", "--namespace", options.namespace, "--selector", selector]
    words += ["--prefix", "--tail=-1", "--max-log-requests=64"]
    return [*words, "--follow"] if options.follow else words
