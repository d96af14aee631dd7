"""``bertjob local``: a cluster of real parts on this machine, with the storage Secret in it."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from bertjob_cli import credentials
from bertjob_local.binaries import BuildError
from bertjob_local.parts import ClusterFailedError, LocalCluster
from bertjob_local.parts import __main__ as parts
from bertjob_local.parts.control import NotRunningError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its verbs."""
    parser = commands.add_parser(
        "local",
        help="a real control plane on this machine: up, down, status, env",
        description='Real etcd, Kubernetes, KServe and S3 on loopback; then: eval "$(bertjob local env)".',
    )
    parts.add_arguments(parser)
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Return 0 when the verb was carried out."""
    try:
        options.act(options)
        if options.act is parts.up:
            add_secret(options.state)
    except (ClusterFailedError, NotRunningError, BuildError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None)
        raise ValueError(said.strip() if said else str(error)) from error
    return 0


def add_secret(state: Path) -> None:
    """Put the S3 gateway's credentials into namespace default, as ``bertjob credentials`` writes them."""
    cluster = LocalCluster.at(state)
    env = cluster.env()
    if "AWS_ACCESS_KEY_ID" not in env:  # started without an S3 gateway
        return
    manifest = credentials.secret(credentials.DEFAULT_NAME, "default", env=env)
    cluster.kubectl("apply", "--server-side", "--filename", "-", stdin=json.dumps(manifest))
    sys.stderr.write(f"Secret default/{credentials.DEFAULT_NAME} holds the S3 gateway's credentials\n")
