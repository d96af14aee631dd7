"""``make bench-operator``: what a job costs the operator, each part of which ``ARGS="--only NAME"`` measures alone."""

import argparse
import importlib
import sys
from typing import Final

from support import benching

PARTS: Final = {
    "ceiling": "throughput, writes and a resync against clusters in memory",
    "memory": "resident memory of its process",
    "latency": "from an event to the first write",
    "election": "how soon another process leads",
    "real": "throughput, reads and writes on a real API server, beside Kubeflow Trainer and kopf",
}


def main(argv: list[str]) -> int:
    """Measure, print a table and write it as JSON."""
    parts = "\n".join(f"  {name:<10}{what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"parts:\n{parts}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help="default: all")
    chosen = parser.parse_args(argv).only
    rows = [row for name in chosen for row in importlib.import_module(f"benchmarks.reconcile.{name}").rows()]
    benching.write("operator", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
