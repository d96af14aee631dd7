"""``bertjob probe``: which layer of a model knows a task best."""

import argparse
import sys
import tempfile
from pathlib import Path

from bertjob_cli import extras, jobfile, placing
from bertjob_storage.protocol import StorageError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "probe",
        help="which layer of a model knows a task best",
        description="Fit a linear model on each layer's vectors of the job's training data and judge it on the held-out data; "
        "the encoder stays as it is. Needs the packages of training.",
    )
    parser.add_argument("file", type=Path, help="YAML file with one BertJob")
    parser.add_argument("--storage", metavar="DIR|s3://...", help="use this instead of spec.storage.prefix")
    parser.add_argument(
        "--model", metavar="URI", help="probe this model instead of spec.model.source, such as a trained one"
    )
    parser.add_argument(
        "--examples", type=int, default=2000, help="training texts (words for tags) to fit on; default: %(default)s"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a picture (SVG)")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Print the table and return 0."""
    if options.examples < 2:
        raise ValueError(f"--examples: got {options.examples}, expected at least 2")
    value = placing.with_storage(jobfile.read(options.file), options.storage)
    if options.model is not None:
        value = {**value, "spec": {**value["spec"], "model": {**value["spec"]["model"], "source": options.model}}}
    job = jobfile.parse(options.file, value, local=True)
    with extras.needing("trainer", command="probe"):
        from bertjob_trainer.probe import run  # noqa: PLC0415  # loads torch

    try:
        with tempfile.TemporaryDirectory(prefix="bertjob-probe-") as scratch:
            found = run.probe(job, scratch=Path(scratch), most=options.examples)
    except StorageError as error:
        raise ValueError(str(error)) from error
    sys.stdout.write("".join(f"{line}\n" for line in run.table(found)))
    if options.output is not None:
        options.output.write_text(run.picture(found), encoding="utf-8")
        sys.stdout.write(f"{options.output.absolute()}\n")
    return 0
