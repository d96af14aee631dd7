"""What the cluster refuses, and what it fills in, before an object is stored. Pure."""

import base64
from collections.abc import Iterator
from typing import Any

from bertjob_api import cluster
from bertjob_api.cluster import InvalidError, Kind, Object
from bertjob_api.job import parse_job
from bertjob_api.parse import InvalidSpecError
from bertjob_api.shape import members
from bertjob_api.spec import IMMUTABLE_SERVING, MUTABLE_TRAINING, JobSpec, Serving, Training

_FIXED_IN_JOBS = ("template", "selector", "completionMode")


def admitted(kind: Kind, new: Object, *, old: Object | None) -> Object:
    """
    Return *new* as it is to be stored.

    Raises:
        InvalidError: with every reason found.

    """
    if kind == cluster.BERT_JOB:
        _check_bert_job(new, old)
    elif kind == cluster.JOB and old is not None:
        _check_job(new["spec"], old["spec"])
    elif kind == cluster.SECRET and "stringData" in new:
        return _with_encoded_data(new)
    return new


def _check_bert_job(new: Object, old: Object | None) -> None:
    try:
        wanted = parse_job(new, local=True).spec
        errors = list(_changed(parse_job(old, local=True).spec, wanted)) if old is not None else []
    except InvalidSpecError as error:
        raise InvalidError(f"BertJob {new['metadata']['name']}: {error}") from error
    if errors:
        raise InvalidError(f"BertJob {new['metadata']['name']}: {'; '.join(errors)}")


def _changed(old: JobSpec, new: JobSpec) -> Iterator[str]:
    """Yield a sentence for each field that differs and may not."""
    fixed = tuple(member.name for member in members(JobSpec) if member.schema.immutable)
    yield from _changed_fields("spec", JobSpec, fixed, (old, new))
    fixed = tuple(member.name for member in members(Training) if member.name not in MUTABLE_TRAINING)
    yield from _changed_fields("spec.training", Training, fixed, (old.training, new.training))
    if old.serving is not None and new.serving is not None:
        yield from _changed_fields("spec.serving", Serving, IMMUTABLE_SERVING, (old.serving, new.serving))


def _changed_fields(path: str, model: type[Any], fixed: tuple[str, ...], pair: tuple[Any, Any]) -> Iterator[str]:
    for member in members(model):
        if member.name in fixed and getattr(pair[0], member.name) != getattr(pair[1], member.name):
            yield f"{path}.{member.key}: cannot be changed; delete the BertJob and create another"


def _check_job(new: Object, old: Object) -> None:
    errors = [f"spec.{key}: field is immutable" for key in _FIXED_IN_JOBS if new.get(key) != old.get(key)]
    elastic = new.get("completionMode") == "Indexed" and new.get("completions") == new.get("parallelism")
    if new.get("completions") != old.get("completions") and not elastic:
        errors.append(
            "spec.completions: may change only together with parallelism, to the same number, in Indexed mode"
        )
    if errors:
        raise InvalidError(f"Job: {'; '.join(errors)}")


def _with_encoded_data(secret: Object) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in secret["stringData"].items()}
    kept = {key: value for key, value in secret.items() if key != "stringData"}
    return {**kept, "data": {**(secret.get("data") or {}), **encoded}}
