"""``bertjob credentials``: the one Secret that training, optimizing and KServe's downloader read S3 settings from."""

import argparse
import base64
import os
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from bertjob_api.names import SECRET_KEYS

DEFAULT_NAME: Final = "bertjob-storage"
REQUIRED: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
KSERVE: Final = "serving.kserve.io"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "credentials",
        help="print the storage Secret",
        description=f"Print a Secret with this shell's {', '.join(SECRET_KEYS)}; "
        "pipe it into `kubectl apply -f -` and name it in spec.storage.secretRef.",
        epilog="example: bertjob credentials -n team | kubectl apply -f -",
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="of the Secret; default: %(default)s")
    parser.add_argument("-n", "--namespace", default="default", help="of the Secret; default: %(default)s")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Print the Secret as YAML."""
    yaml.safe_dump(secret(options.name, options.namespace, env=os.environ), sys.stdout, sort_keys=False)
    return 0


def secret(name: str, namespace: str, *, env: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the Secret: keys as boto3 reads them, and KServe's annotations, which repeat endpoint and region.

    Raises:
        ValueError: *env* has no key pair, a temporary one, or an endpoint that is no URL.

    Source: KServe documentation, "S3 credentials" (annotations of the Secret).

    """
    missing = [key for key in REQUIRED if not env.get(key)]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)}: not set in this shell; export the key pair of your S3 account first"
        )
    if env.get("AWS_SESSION_TOKEN"):
        raise ValueError(
            "AWS_SESSION_TOKEN: is set, so these keys expire within hours; use a lasting key pair, "
            "or a cloud identity by spec.storage.serviceAccountName"
        )
    data = {key: base64.b64encode(env[key].encode()).decode("ascii") for key in SECRET_KEYS if env.get(key)}
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if notes := _annotations(env):
        metadata["annotations"] = notes
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}


def _annotations(env: Mapping[str, str]) -> dict[str, str]:
    notes = {}
    if url := env.get("AWS_ENDPOINT_URL"):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"AWS_ENDPOINT_URL: got {url!r}, expected http://host:port or https://host")
        secure = "1" if parts.scheme == "https" else "0"
        notes = {
            f"{KSERVE}/s3-endpoint": parts.netloc,
            f"{KSERVE}/s3-usehttps": secure,
            f"{KSERVE}/s3-verifyssl": secure,
        }
    if region := env.get("AWS_REGION"):
        notes[f"{KSERVE}/s3-region"] = region
    return notes
