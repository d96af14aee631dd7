"""``python -m bertjob_local.parts up|down|status|env``: a cluster of real parts on this machine."""

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bertjob_local.binaries import BuildError
from bertjob_local.parts import state as state_file
from bertjob_local.parts.cluster import ClusterFailedError, LocalCluster
from bertjob_local.parts.control import NotRunningError
from bertjob_local.parts.layout import default_root
from bertjob_local.parts.settings import ALL_PARTS, Settings


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def up(options: argparse.Namespace) -> None:
    """Start the cluster and say where it is."""
    parts = tuple(part for part in ALL_PARTS if part not in options.without)
    cluster = LocalCluster.up(
        options.state, Settings(parts=parts, nodes=options.nodes, images=options.images), say=_say
    )
    state = cluster.status()
    _say(f"ready in {state.ready_s} s at {state.server}; state, logs and kubeconfig in {options.state}")


def down(options: argparse.Namespace) -> None:
    """End the cluster."""
    LocalCluster.at(options.state).down(delete=options.delete)


def status(options: argparse.Namespace) -> None:
    """Print one line per part."""
    sys.stdout.write(table(LocalCluster.at(options.state).status()))


def env(options: argparse.Namespace) -> None:
    """Print export lines for a shell."""
    sys.stdout.write(exports(LocalCluster.at(options.state).env()))


def table(state: state_file.State) -> str:
    """Return the state as text, one line per part."""
    lines = [f"{state.phase}  {state.server}  {state.message}".rstrip()]
    for name, part in state.parts.items():
        shown = (part.phase, f"pid {part.pid or '-'}", f"port {part.port or '-'}", f"restarts {part.restarts}")
        lines.append(f"  {name:<20}" + "".join(f"{each:<14}" for each in shown).rstrip())
    return "\n".join(lines) + "\n"


def exports(variables: dict[str, str]) -> str:
    """Return shell lines that set the variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def main(argv: list[str] | None = None) -> int:
    """Return 0, 1 after an error that stderr tells, or 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    act: Callable[[argparse.Namespace], None] = options.act
    try:
        act(options)
    except (ClusterFailedError, NotRunningError, BuildError, ValueError) as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:  # `up` has ended what it had started
        return 128 + signal.SIGINT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bertjob_local.parts", description=__doc__)
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the state folder and the four verbs; the parsed options then hold what to call as ``act``."""
    parser.add_argument(
        "--state", type=Path, default=default_root(), metavar="DIR", help="folder of the cluster; default: %(default)s"
    )
    verbs = parser.add_subparsers(required=True)
    for act in (up, down, status, env):
        verb = verbs.add_parser(act.__name__, help=act.__doc__, description=act.__doc__)
        verb.set_defaults(act=act)
        if act is up:
            verb.add_argument("--nodes", type=int, default=3, help="Nodes to register; default: %(default)s")
            verb.add_argument("--images", metavar="FILE", help="YAML that maps images to commands of this machine")
            verb.add_argument(
                "--without",
                nargs="*",
                default=[],
                choices=ALL_PARTS,
                metavar="PART",
                help=f"do not start these: {', '.join(ALL_PARTS)}",
            )
        if act is down:
            verb.add_argument("--delete", action="store_true", help="also remove the state folder and its S3 data")


if __name__ == "__main__":
    sys.exit(main())
