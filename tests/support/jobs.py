"""Builders of BertJob objects for tests."""

import copy
from typing import Any

Object = dict[str, Any]

MINIMAL: Object = {
    "apiVersion": "bertjob.dev/v1alpha1",
    "kind": "BertJob",
    "metadata": {"name": "sentiment", "namespace": "default"},
    "spec": {
        "model": {"source": "package://minilm/model", "task": "sequence-classification"},
        "data": {"train": "storage://data/train.jsonl", "validation": "storage://data/validation.jsonl"},
        "storage": {"prefix": "s3://bucket/team"},
    },
}


def a_job(**spec: Any) -> Object:
    """Return a valid BertJob object; keyword arguments are merged into its spec, nested dictionaries included."""
    job = copy.deepcopy(MINIMAL)
    merge(job["spec"], spec)
    return job


def merge(target: Object, changes: Object) -> None:
    """Put *changes* into *target*, dictionary by dictionary; None removes a key."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value
