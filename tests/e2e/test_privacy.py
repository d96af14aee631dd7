"""With ``privacy.storeTexts: false`` no text of the data reaches status, events or logs, on a cluster of real parts."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.installed import SYSTEM, a_tiny_job, chart, operator_log, prefix_of, put_inputs, put_secret
from support.operating import condition

from bertjob_api import names
from bertjob_local.parts import LocalCluster
from bertjob_storage import open_storage

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

NAMESPACE = "private-jobs"
PRIVATE = ("quokka", "zanzibar")
"""Words of every text, and of nothing else on this cluster."""
ROW = {"text": "the quokka of zanzibar sat", "label": "good"}


@pytest.fixture(scope="module")
def installed(local_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give the local cluster with the chart, and a namespace whose data hold the private words."""
    with chart(local_cluster) as cluster:
        cluster.kubectl("create", "namespace", NAMESPACE)
        put_inputs(cluster, NAMESPACE, tmp_path_factory.mktemp("inputs"))
        put_secret(cluster, NAMESPACE)
        yield cluster
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _put(cluster: LocalCluster, name: str, lines: list[str]) -> None:
    storage = open_storage("s3://", dict(os.environ) | cluster.env())
    storage.put(f"{prefix_of(NAMESPACE)}/data/{name}.jsonl", "".join(f"{line}\n" for line in lines).encode())


def _ended(cluster: LocalCluster, name: str, **spec: Any) -> dict[str, Any]:
    """Run a job to its end and return it."""
    job = a_tiny_job(NAMESPACE, name, privacy={"storeTexts": False}, **spec)
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(job))
    wait = ("wait", f"bertjob/{name}", f"--namespace={NAMESPACE}", "--timeout=240s")
    cluster.kubectl(*wait, "--for=jsonpath={.status.completionTime}")
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", f"bertjob/{name}", f"--namespace={NAMESPACE}", "--output=json")
    )
    return found


def _everything(cluster: LocalCluster, name: str) -> dict[str, str]:
    """Return whatever a person or a log collector can see of a job, by where it stands."""
    kinds = "bertjobs,jobs,pods,configmaps,events"
    place = (f"--namespace={NAMESPACE}",)
    seen = {"objects": cluster.kubectl("get", kinds, *place, "--output=yaml")}
    selector = f"--selector={names.JOB_LABEL}={name}"
    for pod in cluster.kubectl("get", "pods", *place, selector, "--output=name").split():
        seen[f"log of {pod}"] = cluster.kubectl("logs", pod, *place)
    seen[f"log in {SYSTEM}"] = json.dumps(operator_log(cluster))
    return seen


def _leaks(seen: dict[str, str]) -> list[str]:
    return [f"{place}: {word}" for place, text in seen.items() for word in PRIVATE if word in text.lower()]


def test_whole_job_tells_no_text(installed: LocalCluster) -> None:
    """A job that is trained and optimized leaves logs and figures, and no word of its data."""
    rows = [json.dumps({**ROW, "label": label}) for label in ("good", "bad")]
    _put(installed, "train", rows * 32)
    _put(installed, "validation", rows * 8)
    job = _ended(installed, "whole")
    seen = _everything(installed, "whole")

    assert condition(job, "Succeeded")["status"] == "True", job["status"]
    assert sum(place.startswith("log of pod/whole-") for place in seen) >= 3
    assert "epoch" in "".join(seen.values())
    assert _leaks(seen) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cut", json.dumps(ROW)[:-12]),
        ("list", json.dumps({**ROW, "text": [ROW["text"]]})),
        ("unlabelled", json.dumps({"text": ROW["text"]})),
        ("misnamed", json.dumps({"Text": ROW["text"], "label": "good"})),
    ],
)
def test_bad_line_is_named_and_not_told(installed: LocalCluster, tmp_path: Path, name: str, line: str) -> None:
    """A line that cannot be read fails the job with file and number, without what stands in it."""
    good = [json.dumps({**ROW, "label": label}) for label in ("good", "bad")] * 4
    _put(installed, name, [*good, line])
    job = _ended(installed, name, data={"train": f"storage://data/{name}.jsonl"}, optimize=None, gate=None)
    seen = _everything(installed, name)

    assert condition(job, "Accepted")["status"] == "False", job["status"]
    assert f"{name}.jsonl" in condition(job, "Accepted")["message"]
    assert "9" in condition(job, "Accepted")["message"], "the line's number"
    assert _leaks(seen) == []
