"""``bertjob status``: how far a BertJob on a cluster is."""

import argparse
import asyncio
import json
import sys

from bertjob_api.cluster import BERT_JOB, Object
from bertjob_cli import cluster, view
from bertjob_cli.local_run import outcome
from bertjob_cli.terminal import Display

OK, FAILED = 0, 1


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "status", help="how far a BertJob on a cluster is", description="Show the phases of a BertJob on a cluster."
    )
    parser.add_argument("name")
    parser.add_argument("-n", "--namespace", default="default", help="default: %(default)s")
    parser.add_argument("-w", "--watch", action="store_true", help="go on until the job has ended")
    parser.add_argument("-o", "--output", choices=("json",), help="print the object on stdout")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Return 0, or 1 when the job has failed."""
    value = asyncio.run(_look(options))
    if options.output == "json":
        json.dump(value, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in report(value)))
    return FAILED if outcome(value) == "Failed" else OK


def report(value: Object) -> list[str]:
    """Return phases, figures and failure of a job."""
    lines = [*view.screen(value), *view.evaluation(value.get("status", {}))]
    if (url := (value.get("status", {}).get("rollout") or {}).get("url")) is not None:
        lines.append(f"  served at {url}")
    return [*lines, *view.failure(value)] if outcome(value) == "Failed" else lines


async def _look(options: argparse.Namespace) -> Object:
    async with cluster.connected() as found:
        value = await cluster.get(found, options.namespace, options.name)
        if not options.watch or outcome(value) is not None:
            return value
        display = Display(sys.stderr)
        async for change in found.changes(BERT_JOB, namespace=options.namespace):
            if change.object.get("metadata", {}).get("name") != options.name:
                continue
            if change.type == "Deleted":
                raise ValueError(f"BertJob {options.namespace}/{options.name}: was deleted")
            display.show(view.screen(change.object))
            if outcome(change.object) is not None:
                return change.object
    raise AssertionError("a watch never ends")
