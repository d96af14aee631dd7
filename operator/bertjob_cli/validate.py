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
    validate.add_argument("files", type=Path, nargs="+", metavar="file", help="YAML file with one BertJob")
    validate.add_argument("--local", action="store_true", help="allow file:// URIs, as bertjob run does")
    validate.add_argument("--show", action="store_true", help="print the object with every default filled in")
    validate.set_defaults(main=main)
    crd = commands.add_parser(
        "crd", help="print the CustomResourceDefinition", description="Print the CustomResourceDefinition."
    )
    crd.set_defaults(main=print_crd)


def main(options: argparse.Namespace) -> int:
    """Return 0 when every file is a valid BertJob."""
    problems = []
    for file in options.files:
        try:
            job = jobfile.parse(file, jobfile.read(file), local=options.local)
        except jobfile.JobFileError as error:
            problems.append(str(error))
            continue
        if options.show:
            yaml.safe_dump(resolved(job), sys.stdout, sort_keys=False, explicit_start=len(options.files) > 1)
        else:
            sys.stdout.write(f"{file}: BertJob {job.name} is valid\n")
    if problems:
        raise ValueError("\n".join(problems))
    return 0


def print_crd(options: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the definition as YAML."""
    yaml.safe_dump(bert_job_crd(), sys.stdout, sort_keys=False, width=120)
    return 0
