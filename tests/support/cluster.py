"""
Fixtures with a cluster of real parts; each is started once per test run and shared.

Every run has its own folder and ports, so several runs at once do not meet. A run that is killed takes its
clusters with it. Tests keep apart by namespaces: ``make_namespace(cluster)``.
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bertjob_api import names
from bertjob_api.crd import bert_job_crd
from bertjob_local import binaries
from bertjob_local.parts import ALL_PARTS, API_ONLY, LocalCluster, Settings
from bertjob_local.parts.plan import binaries_for


def need(parts: tuple[str, ...]) -> None:
    """Skip the test when a binary of these parts is not built, or fail it where clusters are required."""
    lacking = sorted(set(binaries_for(Settings(parts=parts))) & set(binaries.missing()))
    if not lacking:
        return
    message = f"not built: {', '.join(lacking)}; `python -m bertjob_local.binaries` builds them"
    if os.environ.get("BERTJOB_REQUIRE_CLUSTER") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running(folder: Path, settings: Settings) -> Iterator[LocalCluster]:
    """Give a cluster that ends with this block; skips, or fails where clusters are required."""
    need(settings.parts)
    cluster = LocalCluster.up(folder, settings)
    try:
        yield cluster
    finally:
        cluster.down()


def settings_for(*parts: str, nodes: int = 3) -> Settings:
    """Return settings for a cluster that ends with this process, however this process ends."""
    return Settings(parts=parts, nodes=nodes, owner_pid=os.getpid())


@pytest.fixture(scope="session")
def local_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Everything: control plane, KServe, S3 and three Nodes of the process kubelet."""
    with running(tmp_path_factory.mktemp("cluster"), settings_for(*ALL_PARTS)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Everything but Nodes: pods are created and stay pending."""
    parts = (part for part in ALL_PARTS if part != "kubelet")
    with running(tmp_path_factory.mktemp("control-plane"), settings_for(*parts)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def real_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Only etcd and the API server: objects are validated and stored, nothing acts on them."""
    with running(tmp_path_factory.mktemp("api"), settings_for(*API_ONLY)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def real_controllers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give etcd, the API server and Kubernetes' own controllers: Jobs make pods, owners take their children along."""
    settings = settings_for(*API_ONLY, "controller-manager")
    with running(tmp_path_factory.mktemp("controllers"), settings) as cluster:
        yield cluster


def install_crd(cluster: LocalCluster) -> None:
    """Make the cluster know BertJob as the types define it, whoever installed it before."""
    definition = json.dumps(bert_job_crd())
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=definition)
    crd = f"crd/{names.PLURAL}.{names.GROUP}"
    # Until a CRD has its first condition, kubectl wait fails at once.
    cluster.kubectl("wait", "--for=jsonpath={.status.conditions[0].type}", "--timeout=30s", crd)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", crd)


@pytest.fixture
def make_namespace() -> Iterator[Callable[[LocalCluster], str]]:
    """Give a function that makes a namespace for this test alone."""
    made: list[tuple[LocalCluster, str]] = []

    def make(cluster: LocalCluster) -> str:
        name = f"test-{secrets.token_hex(4)}"
        cluster.kubectl("create", "namespace", name)
        made.append((cluster, name))
        return name

    yield make
    for cluster, name in made:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def cluster_env(monkeypatch: pytest.MonkeyPatch) -> Callable[[LocalCluster], dict[str, str]]:
    """Give a function that sets a cluster's variables for this test and returns them."""

    def use(cluster: LocalCluster) -> dict[str, str]:
        for name, value in cluster.env().items():
            monkeypatch.setenv(name, value)
        return cluster.env()

    return use
