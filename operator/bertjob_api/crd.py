"""
The CustomResourceDefinition of BertJob, generated from the types.

Structural by construction: no ``$ref``, no ``anyOf``, defaults complete, every string and list bounded so that the CEL rules
stay within the API server's cost limits (Source: Kubernetes documentation, "Extend the Kubernetes API with
CustomResourceDefinitions"). A contract test keeps the chart's copy equal to ``bert_job_crd()``.
"""

import dataclasses
from typing import Any

from bertjob_api import names
from bertjob_api.fields import DNS_LABEL, Schema
from bertjob_api.parse import dump
from bertjob_api.rules import RULES
from bertjob_api.shape import Member, Shape, members
from bertjob_api.spec import IMMUTABLE_SERVING, MUTABLE_TRAINING, JobSpec, Serving, Training
from bertjob_api.status import JobStatus

Json = dict[str, Any]


def bert_job_crd() -> Json:
    """Return the CustomResourceDefinition object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": "bertjob",
                "shortNames": ["bj"],
                "categories": ["ml"],
            },
            "versions": [_version()],
        },
    }


def _version() -> Json:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.training.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            _column("Phase", ".status.phase"),
            _column("Nodes", ".status.nodes"),
            _column("Progress", ".status.progress"),
            _column("Gate", ".status.evaluation.verdict"),
            _column("Traffic", ".status.rollout.trafficPercent", kind="integer"),
            _column("Age", ".metadata.creationTimestamp", kind="date"),
            _column("Model", ".spec.model.source", priority=1),
            _column("Service", ".spec.serving.inferenceService", priority=1),
            _column("Restarts", ".status.training.restarts", kind="integer", priority=1),
            _column("Reason", ".status.lastFailure.reason", priority=1),
        ],
    }


def _column(name: str, path: str, *, kind: str = "string", priority: int = 0) -> Json:
    return {"name": name, "type": kind, "jsonPath": path, "priority": priority}


def _root() -> Json:
    named = f"self.metadata.name.matches('{DNS_LABEL}') && size(self.metadata.name) <= {names.MAX_JOB_NAME}"
    return {
        "type": "object",
        "description": "A BERT model from data to served INT8: trained elastically, optimized, gated and rolled out.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this object's schema."},
            "kind": {"type": "string", "description": "BertJob."},
            "metadata": {"type": "object"},  # the API server allows nothing else here
            "spec": _spec(),
            "status": {"description": "What the operator has observed.", **_object(JobStatus)},
        },
        "x-kubernetes-validations": [
            {
                "rule": named,
                "message": f"metadata.name: use lower-case letters, digits and dashes, a letter first, at most {names.MAX_JOB_NAME} characters",
            }
        ],
    }


def _spec() -> Json:
    schema = {"description": "What is wanted.", **_object(JobSpec)}
    rules = [{"rule": rule.cel, "message": rule.message} for rule in RULES]
    schema["x-kubernetes-validations"] = rules + _immutable_spec()
    training = schema["properties"]["training"]
    training["x-kubernetes-validations"] = [
        _unchanged(f"spec.training.{member.key}", member)
        for member in members(Training)
        if member.name not in MUTABLE_TRAINING
    ]
    serving = schema["properties"]["serving"]
    serving["x-kubernetes-validations"] = [
        _unchanged(f"spec.serving.{member.key}", member)
        for member in members(Serving)
        if member.name in IMMUTABLE_SERVING
    ]
    return schema


def _immutable_spec() -> list[Json]:
    return [_unchanged(f"spec.{member.key}", member) for member in members(JobSpec) if member.schema.immutable]


def _unchanged(path: str, member: Member) -> Json:
    """Return a transition rule; a field without default may not appear or vanish either."""
    key = member.key
    same = f"self.{key} == oldSelf.{key}"
    if member.shape.optional:
        same = f"has(self.{key}) == has(oldSelf.{key}) && (!has(self.{key}) || {same})"
    return {"rule": same, "message": f"{path}: cannot be changed; delete the BertJob and create another"}


def _object(model: type[Any]) -> Json:
    fields = members(model)
    schema: Json = {"type": "object", "properties": {member.key: _property(member) for member in fields}}
    required = [member.key for member in fields if member.required]
    return {**schema, "required": required} if required else schema


def _property(member: Member) -> Json:
    schema = {"description": member.schema.doc, **_typed(member.shape, member.schema)}
    if member.default is dataclasses.MISSING or member.default is None:
        return schema
    return {**schema, "default": _default(member.default)}


def _default(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return dump(value)
    return list(value) if isinstance(value, tuple) else value


def _typed(shape: Shape, schema: Schema) -> Json:
    if shape.kind == "object":
        assert shape.model is not None
        return _object(shape.model)
    if shape.kind == "opaque":
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if shape.kind == "list":
        return _list(shape, schema)
    if shape.kind == "boolean":
        return {"type": "boolean"}
    if shape.kind == "string":
        return _string(shape, schema)
    bounds = {"minimum": schema.minimum, "maximum": schema.maximum}
    integer = {"format": "int64"} if shape.kind == "integer" else {}
    return {"type": shape.kind, **integer, **{key: value for key, value in bounds.items() if value is not None}}


def _string(shape: Shape, schema: Schema) -> Json:
    if shape.enum is not None:
        return {"type": "string", "enum": list(shape.enum)}
    if schema.timestamp:
        return {"type": "string", "format": "date-time"}
    pattern = {"pattern": schema.pattern} if schema.pattern is not None else {}
    return {"type": "string", "maxLength": schema.max_length, **pattern}


def _list(shape: Shape, schema: Schema) -> Json:
    assert shape.item is not None
    result: Json = {"type": "array", "maxItems": schema.max_items, "items": _typed(shape.item, schema)}
    if schema.min_items:
        result["minItems"] = schema.min_items
    if schema.list_key is not None:
        return {**result, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [schema.list_key]}
    return {**result, "x-kubernetes-list-type": "set" if schema.unique else "atomic"}
