"""The ``bertjob`` command: one line for a user's mistake, never a traceback."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from bertjob_cli import (
    credentials,
    ledger,
    local,
    logs,
    plan_scale,
    predict,
    probe,
    render,
    report,
    run,
    status,
    validate,
)

COMMANDS = (
    run,
    validate,
    render,
    plan_scale,
    credentials,
    status,
    logs,
    ledger,
    report,
    predict,
    probe,
    local,
)
"""Modules with a command; each adds its parser and says what to call."""
INTERRUPTED = 130
"""Source: POSIX shells, 128 + SIGINT."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = argparse.ArgumentParser(
        prog="bertjob", description="Train, optimize and serve a BERT model: one object from data to INT8 answers."
    )
    root.add_argument("--debug", action="store_true", help="show logs and tracebacks")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; 2 for a mistake of the user."""
    options = parser().parse_args(argv)
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.ERROR, stream=sys.stderr)
    try:
        code: int = options.main(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        if options.debug:
            raise
        sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
