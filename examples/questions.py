"""Asking the served model over both of KServe's REST protocols."""

import json
import urllib.request
from typing import Any, NamedTuple

TIMEOUT_S = 30.0
SENTENCES = (
    "Extract all members of the archive into a folder.",
    "Compute the shortest path between two nodes of a weighted graph.",
    "Check a certificate's signature with the issuer's public key.",
)


class Answer(NamedTuple):
    """Label and probability for one text."""

    label: str
    score: float


def v1(url: str, model: str, texts: list[str]) -> list[Answer]:
    """Ask by the V1 protocol."""
    found = _post(f"{url}/v1/models/{model}:predict", {"instances": texts})
    return [Answer(each["label"], each["score"]) for each in found["predictions"]]


def v2(url: str, model: str, texts: list[str]) -> list[Answer]:
    """Ask by the V2 (Open Inference) protocol."""
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    found = _post(f"{url}/v2/models/{model}/infer", {"inputs": [tensor]})
    outputs = {each["name"]: each["data"] for each in found["outputs"]}
    return [Answer(*pair) for pair in zip(outputs["label"], outputs["score"], strict=True)]


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310  # our own service
        found: dict[str, Any] = json.load(response)
        return found
