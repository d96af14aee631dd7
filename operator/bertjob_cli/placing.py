"""Fitting a BertJob that was written for a cluster to this machine. Pure."""

from collections.abc import Mapping
from pathlib import Path

from bertjob_api.job import BertJob, Object
from bertjob_cli import credentials

_S3_ONLY = ("secretRef", "serviceAccountName", "endpoint", "region")


def with_storage(value: Object, storage: str | None) -> Object:
    """
    Return the object with its storage prefix replaced.

    Args:
        value: a BertJob object.
        storage: s3:// URI; a folder, which needs no credentials; None: as the file says.

    Raises:
        ValueError: *storage* is another kind of URI.

    """
    if storage is None or not isinstance(value.get("spec"), dict):
        return value
    scheme, separator, _ = storage.partition("://")
    if separator and scheme not in {"s3", "file"}:
        raise ValueError(f"--storage {storage}: expected a folder or s3://bucket/path")
    wanted = dict(value["spec"].get("storage") or {})
    if storage.startswith("s3://"):
        wanted["prefix"] = storage
    else:
        folder = Path(storage.removeprefix("file://")).absolute()
        wanted = {key: item for key, item in wanted.items() if key not in _S3_ONLY} | {"prefix": folder.as_uri()}
    return {**value, "spec": {**value["spec"], "storage": wanted}}


def storage_problem(job: BertJob, env: Mapping[str, str]) -> str | None:
    """Return why this machine cannot reach the job's storage, or None."""
    storage = job.spec.storage
    if storage.prefix.startswith("file:") or storage.secret_ref is None or env.get("AWS_ACCESS_KEY_ID"):
        return None
    return (
        f"spec.storage.prefix: {storage.prefix} needs credentials, and AWS_ACCESS_KEY_ID is not set here; "
        "set the AWS_ variables, or use a folder: --storage DIR"
    )


def storage_secret(job: BertJob, env: Mapping[str, str]) -> Object | None:
    """Return the Secret that the job names, filled from this shell's variables, or None when it names none."""
    reference = job.spec.storage.secret_ref
    if reference is None or job.spec.storage.prefix.startswith("file:"):
        return None
    return credentials.secret(reference.name, job.namespace, env=env)


def num_nodes(job: BertJob) -> int:
    """Return how many Nodes of this machine the job needs, one for each training pod it may have."""
    elastic = job.spec.training.elastic
    return max(1, job.spec.training.replicas, elastic.max if elastic else 0)
