"""The generated CustomResourceDefinition is structural, bounded and documented."""

from collections.abc import Iterator
from typing import Any

import pytest

from bertjob_api.crd import bert_job_crd

Json = dict[str, Any]
FORBIDDEN = ("$ref", "anyOf", "oneOf", "allOf", "not", "const", "title", "additionalProperties", "uniqueItems")


def _nodes(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    yield path, schema
    for key, inner in schema.get("properties", {}).items():
        yield from _nodes(inner, f"{path}.{key}")
    if "items" in schema:
        yield from _nodes(schema["items"], f"{path}[]")


def _schema() -> Json:
    version: Json = bert_job_crd()["spec"]["versions"][0]
    schema: Json = version["schema"]["openAPIV3Schema"]
    return schema


NODES = list(_nodes(_schema(), ""))


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path or "root" for path, _ in NODES])
def test_node_is_structural_and_bounded(path: str, node: Json) -> None:
    """Every node has a type and no construct that a structural schema forbids; strings and lists have a bound."""
    assert "type" in node
    assert not [key for key in FORBIDDEN if key in node]
    if node["type"] == "string":
        assert (
            "maxLength" in node
            or "enum" in node
            or node.get("format") == "date-time"
            or path in (".apiVersion", ".kind")
        )
    if node["type"] == "array":
        assert "maxItems" in node


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path or "root" for path, _ in NODES])
def test_field_is_explained(path: str, node: Json) -> None:
    """Kubectl explain has a sentence for every field."""
    assert path.endswith("[]") or path == ".metadata" or node["description"].endswith(".")


def test_scale_points_at_fields_that_exist() -> None:
    """Kubectl scale and autoscalers find the replicas, the observed replicas and the selector."""
    scale = bert_job_crd()["spec"]["versions"][0]["subresources"]["scale"]
    paths = {path for path, _ in NODES}

    assert set(scale.values()) <= paths
