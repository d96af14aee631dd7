"""``bertjob render``: every object that the operator would make for a BertJob, without a cluster."""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml

from bertjob_api import layout
from bertjob_api.cluster import Object
from bertjob_api.job import BertJob
from bertjob_cli import jobfile
from bertjob_operator.plan import Observed, base, jobs, serving

UNKNOWN_DIGEST: Final = "0" * 64
"""Stands for the digest of a model that is not trained yet."""
UNKNOWN_ADDRESS: Final = "0.0.0.0"  # noqa: S104  # nothing listens there: it stands for an address not given yet
"""Stands for the cluster IP that the store's Service will get."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "render",
        help="print what the operator would make",
        description="Print every object that the operator makes for a BertJob on its way, as YAML. What only a cluster "
        f"or the training knows is written as {UNKNOWN_ADDRESS} (address) and zeros (uid, digest).",
    )
    parser.add_argument("file", type=Path, help="YAML file with one BertJob")
    parser.add_argument("--local", action="store_true", help="allow file:// URIs, as bertjob run does")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Print the objects."""
    job = jobfile.parse(options.file, jobfile.read(options.file), local=options.local)
    yaml.safe_dump_all(children(job), sys.stdout, sort_keys=False, width=120, allow_unicode=True)
    return 0


def children(job: BertJob) -> Iterator[Object]:
    """Yield the objects in the order in which a job without failures gets them."""
    seen = Observed(job=job, now=datetime.fromtimestamp(0, UTC))
    model = layout.model_folder(job, UNKNOWN_DIGEST)
    yield from (base.account(job), base.spec_config(job), jobs.preflight(seen))
    yield from (base.store_service(job, address=None), base.store_pod(seen))
    yield jobs.train(seen, attempt=0, store_host=UNKNOWN_ADDRESS)
    if job.spec.optimize is not None or job.spec.serving is not None:
        yield jobs.optimize(seen, model_uri=model, model_sha256=UNKNOWN_DIGEST, live_uri=None)
    if job.spec.serving is not None:
        account = serving.account(job, job.spec.serving)
        yield from (account,) if account is not None else ()
        yield serving.inference_service(job, job.spec.serving, uri=model)
