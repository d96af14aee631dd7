"""A whole BertJob object: metadata, spec and status."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertjob_api import names, rules
from bertjob_api.fields import DNS_LABEL
from bertjob_api.parse import InvalidSpecError, dump, parse
from bertjob_api.spec import JobSpec
from bertjob_api.status import JobStatus

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BertJob:
    """One BertJob as the API server holds it."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: JobSpec
    status: JobStatus
    labels: Mapping[str, str]
    deleted: bool = False
    """A deletion time stands in the metadata."""
    created: str | None = None
    """RFC 3339 creation time; None before the API server has seen it."""


def parse_job(value: Object, *, local: bool = False) -> BertJob:
    """
    Return a BertJob from its Kubernetes object.

    Args:
        value: the whole object; a file that was never applied has no uid and generation 0.
        local: allow what only local runs can reach (file:// URIs).

    Raises:
        InvalidSpecError: with every error found.

    """
    errors = _header_errors(value)
    try:
        spec = parse(JobSpec, value.get("spec", {}))
    except InvalidSpecError as error:
        raise InvalidSpecError(errors + error.errors) from None
    errors += rules.broken(spec, local=local)
    if errors:
        raise InvalidSpecError(errors)
    metadata = value["metadata"]
    return BertJob(
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        spec=spec,
        status=parse(JobStatus, value.get("status") or {}, path="status"),
        labels=metadata.get("labels") or {},
        deleted="deletionTimestamp" in metadata,
        created=metadata.get("creationTimestamp"),
    )


def resolved(job: BertJob) -> Object:
    """Return the object with every default filled in, without status: what the pods read."""
    metadata = {"name": job.name, "namespace": job.namespace, "uid": job.uid}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": dump(job.spec)}


def _header_errors(value: Object) -> list[str]:
    errors = []
    if value.get("apiVersion") != names.API_VERSION:
        errors.append(f"apiVersion: got {value.get('apiVersion')!r}, expected {names.API_VERSION}")
    if value.get("kind") != names.KIND:
        errors.append(f"kind: got {value.get('kind')!r}, expected {names.KIND}")
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or re.search(DNS_LABEL, name) is None:
        errors.append(f"metadata.name: got {name!r}, expected lower-case letters, digits and dashes, a letter first")
    elif len(name) > names.MAX_JOB_NAME:
        errors.append(
            f"metadata.name: got {len(name)} characters, expected at most {names.MAX_JOB_NAME}; children's names are built from it"
        )
    return errors
