"""``bertjob report``: the report of a trained model, as a file to open in a browser."""

import argparse
import asyncio
import sys
from pathlib import Path

from bertjob_api import layout
from bertjob_api.cluster import Object
from bertjob_cli import cluster
from bertjob_storage import uris
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import NotFoundError, StorageError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="get the report of a trained model",
        description="Copy the report of a BertJob's trained model from storage and print where it is. S3 is reached with the "
        "AWS_ variables of this shell.",
    )
    parser.add_argument("name", help="name of the BertJob, or the URI of a trained model")
    parser.add_argument("-n", "--namespace", default="default", help="of the BertJob; default: %(default)s")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write it; default: NAME-report.html"
    )
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Write the report and return 0."""
    uri = options.name if "://" in options.name else model_of(asyncio.run(_job(options)))
    name = options.name.rstrip("/").rpartition("/")[2]
    target: Path = options.output or Path(f"{name}-report.html")
    source = layout.report_uri(uri)
    try:
        content = open_storage(source).get(source)
    except NotFoundError as error:
        raise ValueError(f"{source}: there is no report; the training of a BertJob writes one") from error
    except StorageError as error:
        raise ValueError(str(error)) from error
    target.write_bytes(content)
    sys.stdout.write(f"{target.absolute()}\n")
    return 0


def model_of(value: Object) -> str:
    """Return the URI of a job's trained model. Raises ValueError when there is none yet."""
    uri = _model(value)
    if uri is None:
        raise ValueError(f"BertJob {value['metadata']['name']}: has no trained model yet; see bertjob status")
    return uri


def place(value: Object) -> str | None:
    """Return where the report of a job's trained model is: a path, or a URI; None: nothing is trained."""
    uri = _model(value)
    if uri is None:
        return None
    found = layout.report_uri(uri)
    return str(uris.path_of(found)) if uris.scheme_of(found) == "file" else found


def _model(value: Object) -> str | None:
    uri = ((value.get("status", {}).get("artifacts") or {}).get("model") or {}).get("uri")
    return str(uri) if uri is not None else None


async def _job(options: argparse.Namespace) -> Object:
    async with cluster.connected() as found:
        return await cluster.get(found, options.namespace, options.name)
