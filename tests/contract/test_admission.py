"""The real API server accepts our CustomResourceDefinition, refuses what the parser refuses, and keeps what may not change."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from support.bad_specs import BAD_SPECS, BadSpec
from support.cluster import install_crd
from support.jobs import Object, a_job, merge

from bertjob_local.parts import LocalCluster

pytestmark = pytest.mark.cluster

SERVED = a_job(
    training={"replicas": 2, "elastic": {"min": 1, "max": 4}}, optimize={}, serving={"inferenceService": "docs"}
)


@pytest.fixture(scope="module")
def api(real_api: LocalCluster) -> LocalCluster:
    """Give an API server that knows BertJob."""
    install_crd(real_api)
    return real_api


def _apply(api: LocalCluster, job: Object, *flags: str) -> str:
    """Return what the API server said, refusals included."""
    try:
        return api.kubectl(
            "apply", "--server-side", "--force-conflicts", "--validate=strict", *flags, "-f", "-", stdin=json.dumps(job)
        )
    except subprocess.CalledProcessError as error:
        return f"refused: {error.stderr}"


def test_definition_is_structural(api: LocalCluster) -> None:
    """The API server finds nothing to complain about in the schema or its rules."""
    found = json.loads(api.kubectl("get", "crd", "bertjobs.bertjob.dev", "-o", "json"))
    conditions = {item["type"]: item["status"] for item in found["status"]["conditions"]}

    assert conditions.get("NonStructuralSchema", "False") == "False"
    assert conditions["NamesAccepted"] == "True"


@pytest.mark.parametrize("bad", BAD_SPECS, ids=lambda bad: bad.name)
def test_bad_spec_is_refused_with_its_path(api: LocalCluster, bad: BadSpec) -> None:
    """Admission refuses what the parser refuses, and names the same field."""
    answer = _apply(api, bad.job, "--dry-run=server")

    assert answer.startswith("refused:")
    assert bad.path in answer


CHANGES: dict[str, tuple[dict[str, Any], str | None]] = {
    "replicas": ({"training": {"replicas": 3}}, None),
    "elastic bounds": ({"training": {"elastic": {"min": 2, "max": 8}}}, None),
    "suspend": ({"suspend": True}, None),
    "deadline": ({"activeDeadlineSeconds": 60}, None),
    "rollout policy": ({"serving": {"steps": [0, 100]}}, None),
    "model": ({"model": {"source": "package://other/model"}}, "spec.model"),
    "data": ({"data": {"train": "storage://other.jsonl"}}, "spec.data"),
    "seed": ({"training": {"seed": 7}}, "spec.training.seed"),
    "methods": ({"optimize": {"methods": ["qat"]}}, "spec.optimize"),
    "optimize removed": ({"optimize": None}, "spec.optimize"),
    "service": ({"serving": {"inferenceService": "other"}}, "spec.serving.inferenceService"),
    "prefix": ({"storage": {"prefix": "s3://other/team"}}, "spec.storage"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_is_allowed_or_refused(
    api: LocalCluster, make_namespace: Callable[[LocalCluster], str], name: str
) -> None:
    """What shapes the result cannot change under a job that runs; what only places it can."""
    changes, refused = CHANGES[name]
    namespace = make_namespace(api)
    job = {**SERVED, "metadata": {"name": "sentiment", "namespace": namespace}}
    assert not _apply(api, job).startswith("refused:")

    merged = a_job(**SERVED["spec"])
    merged["metadata"] = job["metadata"]
    merge(merged["spec"], changes)
    answer = _apply(api, merged)

    assert answer.startswith("refused:") == (refused is not None), answer
    assert refused is None or f"{refused}: cannot be changed" in answer


def test_scale_subresource_moves_the_replicas(api: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> None:
    """Kubectl scale changes spec.training.replicas, within the elastic bounds only."""
    namespace = make_namespace(api)
    _apply(api, {**SERVED, "metadata": {"name": "sentiment", "namespace": namespace}})

    api.kubectl("scale", "bj/sentiment", "--replicas=4", "-n", namespace)

    assert api.kubectl("get", "bj", "sentiment", "-n", namespace, "-o", "jsonpath={.spec.training.replicas}") == "4"
    with pytest.raises(subprocess.CalledProcessError, match="1"):
        api.kubectl("scale", "bj/sentiment", "--replicas=9", "-n", namespace)
