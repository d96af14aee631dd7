"""``bertjob status``: how far a BertJob on a cluster is."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable

from bertjob_api.cluster import BERT_JOB, EVENT, Cluster, Object
from bertjob_cli import cluster, view
from bertjob_cli.local_run import outcome
from bertjob_cli.terminal import Display

OK, FAILED = 0, 1


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "status",
        help="how far a BertJob on a cluster is",
        description="Show phases, figures, rollout and last events of a BertJob on a cluster. Exit code 1: the job has failed.",
        epilog="example: bertjob status quickstart -w",
    )
    parser.add_argument("name", help="name of the BertJob")
    parser.add_argument("-n", "--namespace", default="default", help="of the BertJob; default: %(default)s")
    parser.add_argument("-w", "--watch", action="store_true", help="go on until the job has ended")
    parser.add_argument("-o", "--output", choices=("json",), help="print the object on stdout")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Return 0, or 1 when the job has failed."""
    value, events = asyncio.run(_look(options))
    if options.output == "json":
        json.dump(value, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in report(value, events)))
    return FAILED if outcome(value) == "Failed" else OK


def report(value: Object, events: Iterable[Object] = ()) -> list[str]:
    """Return phases, figures, rollout, last events and failure of a job."""
    status = value.get("status", {})
    lines = [*view.screen(value), *view.evaluation(status), *view.rollout(status), *view.events(value, events)]
    return [*lines, *view.failure(value)] if outcome(value) == "Failed" else lines


async def _look(options: argparse.Namespace) -> tuple[Object, list[Object]]:
    """Return the job, when it has ended if asked to wait for that, and the events of its namespace."""
    async with cluster.connected() as found:
        value = await cluster.get(found, options.namespace, options.name)
        if options.watch and outcome(value) is None:
            value = await _ended(found, options)
        return value, await found.list(EVENT, namespace=options.namespace)


async def _ended(found: Cluster, options: argparse.Namespace) -> Object:
    """Return the job once it has ended, shown meanwhile."""
    display = Display(sys.stderr)
    async with display.alive():
        async for change in found.changes(BERT_JOB, namespace=options.namespace):
            if change.object.get("metadata", {}).get("name") != options.name:
                continue
            if change.type == "Deleted":
                raise ValueError(f"BertJob {options.namespace}/{options.name}: was deleted")
            display.show(view.screen(change.object))
            if outcome(change.object) is not None:
                return change.object
    raise AssertionError("a watch never ends")
