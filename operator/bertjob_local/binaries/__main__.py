"""``python -m bertjob_local.binaries``: build what is missing and print where everything is."""

import argparse
import sys

from bertjob_local.binaries import building, sets, toolchain


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(argv: list[str] | None = None) -> int:
    """Return 0 when every binary is there; paths go to stdout, progress to stderr."""
    parser = argparse.ArgumentParser(prog="python -m bertjob_local.binaries", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these binaries")
    parser.add_argument(
        "--drop-go-caches",
        action="store_true",
        help="afterwards empty Go's module and build caches (all of them, about 10 GB)",
    )
    options = parser.parse_args(argv)
    try:
        for name in options.names:
            sets.set_of(name)
        found = building.build(tuple(options.names) or sets.BINARIES, say=_say)
        if options.drop_go_caches:
            building.drop_go_caches(_say)
    except (ValueError, building.BuildError, toolchain.ToolchainError) as error:
        _say(f"error: {error}")
        return 1
    for name, path in found.items():
        sys.stdout.write(f"{name}\t{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
