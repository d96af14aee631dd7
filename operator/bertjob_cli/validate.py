"""``bertjob validate`` and ``bertjob crd``: what the API accepts."""

import argparse
import sys
from pathlib import Path

import yaml

from bertjob_api.crd import bert_job_crd
from bertjob_api.job import resolved
from bertjob_cli import jobfile


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands."""
    validate = commands.add_parser(
        "validate",
        help="check a BertJob file",
        description="Check a BertJob as a cluster would, and name every mistake.",
    )
    validate.add_argument("file", type=Path, help="YAML file with one BertJob")
    validate.add_argument("--local", action="store_true", help="allow file:// URIs, as bertjob run does")
    validate.add_argument("--show", action="store_true", help="print the object with every default filled in")
    validate.set_defaults(main=main)
    crd = commands.add_parser(
        "crd", help="print the CustomResourceDefinition", description="Print the CustomResourceDefinition."
    )
    crd.set_defaults(main=print_crd)


def main(options: argparse.Namespace) -> int:
    """Return 0 when the file is a valid BertJob."""
    job = jobfile.parse(options.file, jobfile.read(options.file), local=options.local)
    if options.show:
        yaml.safe_dump(resolved(job), sys.stdout, sort_keys=False)
    else:
        sys.stdout.write(f"{options.file}: BertJob {job.name} is valid\n")
    return 0


def print_crd(options: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the definition as YAML."""
    yaml.safe_dump(bert_job_crd(), sys.stdout, sort_keys=False, width=120)
    return 0
