"""The ``bertjob`` command: one line for a user's mistake, never a traceback."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from bertjob_api import contract
from bertjob_cli import (
    completion,
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
    completion,
)
"""Modules with a command; each adds its parser and says what to call."""
INTERRUPTED = 130
"""Source: POSIX shells, 128 + SIGINT."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = argparse.ArgumentParser(
        prog="bertjob", description="Train, optimize and serve a BERT model: one object from data to INT8 answers."
    )
    root.add_argument("--version", action="version", version=f"bertjob {contract.release()}")
    root.add_argument("--debug", action="store_true", help="show logs and tracebacks")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands)
    return root


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """
    Return the parsed command line; an option may stand between a command's name and its texts.

    argparse takes all positional words of a command from before its first option, and cannot mix them in a subcommand.
    """
    root = parser()
    options, late = root.parse_known_args(argv)
    if late and ("texts" not in options or any(word.startswith("-") for word in late)):
        root.error(f"unrecognized arguments: {' '.join(late)}")
    if late:
        options.texts = [*options.texts, *late]
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; 2 for a mistake of the user."""
    options = parse(argv)
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
