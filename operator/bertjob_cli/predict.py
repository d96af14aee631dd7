"""``bertjob predict``: ask a served model over KServe's V1 REST protocol."""

import argparse
import asyncio
import json
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any, Final

from bertjob_api import names
from bertjob_api.cluster import SERVICE, Object
from bertjob_cli import cluster
from bertjob_local.addresses import authority

TIMEOUT_S: Final = 30.0


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="ask a served model",
        description="Ask the model that a BertJob serves; one answer a line, for each text or line of stdin.",
    )
    parser.add_argument("name", help="BertJob, or with --url the model's name")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: the lines of stdin")
    parser.add_argument(
        "--json",
        action="store_true",
        help='each TEXT is a JSON instance, such as {"text": "...", "text_pair": "..."}, {"question": "...", "context": "..."} or a list of words',
    )
    parser.add_argument("-n", "--namespace", default="default", help="of the BertJob; default: %(default)s")
    parser.add_argument("--url", help="of the model server, instead of looking it up in a cluster")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Print one JSON object for each text."""
    texts = options.texts or [line.rstrip("\n") for line in sys.stdin]
    empty = [number for number, text in enumerate(texts, 1) if not text.strip()]
    if empty or not texts:
        raise ValueError(f"text {empty[0] if empty else 1}: is empty, expected a sentence; nothing was asked")
    instances = [_instance(text, number) for number, text in enumerate(texts, 1)] if options.json else list[Any](texts)
    url, model = (options.url, options.name) if options.url else asyncio.run(_served(options.namespace, options.name))
    for answer in ask(url, model, instances):
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return 0


async def _served(namespace: str, name: str) -> tuple[str, str]:
    async with cluster.connected() as found:
        job = await cluster.get(found, namespace, name)
        url = (job.get("status", {}).get("rollout") or {}).get("url")
        if url is None:
            raise ValueError(
                f"BertJob {namespace}/{name}: serves nothing yet; `bertjob status {name}` says how far it is"
            )
        model = job["spec"]["serving"]["inferenceService"]
        services = await found.list(SERVICE, namespace=namespace, name=names.predictor_name(model))
    return next((near for service in services if (near := _on_this_machine(service))), url), model


def _on_this_machine(service: Object) -> str | None:
    """Return the Service's own URL on a cluster of loopback addresses, which has no ingress for KServe's; else None."""
    address = service["spec"].get("clusterIP", "")
    return f"http://{authority(address, port=80)}" if address.startswith("127.") else None


def _instance(text: str, number: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"text {number}: is not JSON ({error}), expected one instance; nothing was asked") from error


def ask(url: str, model: str, texts: list[Any]) -> list[Any]:
    """
    Return the server's answer for each text or instance.

    Raises:
        ValueError: the server cannot be reached, or refuses; the message repeats what it said.

    """
    address = f"{url.rstrip('/')}/v1/models/{model}:predict"
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"--url: got {url!r}, expected http://host:port or https://host")
    body = json.dumps({"instances": texts}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310  # checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            found: list[Any] = json.load(response)["predictions"]
            return found
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode(errors="replace").strip()
        hint = "; check the model's name" if error.code == HTTPStatus.NOT_FOUND else ""
        raise ValueError(f"{address}: answered {error.code}: {said or error.reason}{hint}") from error
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{address}: cannot be asked ({error}); check the URL and that the model is ready") from error
