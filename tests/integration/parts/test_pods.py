"""Pods run on the whole local cluster, and end with it however it ends."""

import json
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cluster import running, settings_for
from support.waiting import all_end, eventually

from bertjob_local.parts import API_ONLY, LocalCluster

pytestmark = pytest.mark.cluster


def test_a_job_runs_and_its_logs_are_read(local_cluster: LocalCluster, make_namespace: Callable[[LocalCluster], str]):
    """A Job is scheduled to a Node, runs its command to the end, and kubectl logs shows what it said."""
    namespace = make_namespace(local_cluster)
    local_cluster.kubectl("create", "-n", namespace, "job", "hi", "--image=busybox", "--", "echo", "hello")

    local_cluster.kubectl("wait", "-n", namespace, "job/hi", "--for=condition=Complete", "--timeout=60s")

    assert local_cluster.kubectl("logs", "-n", namespace, "job/hi") == "hello\n"


def test_nodes_are_on_loopback(local_cluster: LocalCluster):
    """As many Nodes are Ready as were asked for, each with an address of its own on loopback."""
    nodes = json.loads(local_cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    addresses = {each["status"]["addresses"][0]["address"] for each in nodes}

    assert len(addresses) == 3
    assert all(address.startswith("127.0.0.") for address in addresses)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Give a cluster of this test's own, to kill."""
    settings = settings_for(*API_ONLY, "controller-manager", "scheduler", "kubelet", nodes=1)
    with running(tmp_path / "cluster", settings) as cluster:
        yield cluster


@pytest.mark.parametrize("how", ["down", "kill"])
def test_pods_end_with_the_cluster(own_cluster: LocalCluster, how: str):
    """Neither ``down`` nor kill -9 of the supervising process leaves a process of a pod behind."""
    seconds = f"7{secrets.randbelow(10**9):09d}"  # a number that no other command line has
    job = ("create", "job", "long", "--image=busybox", "--", "sleep", seconds)
    own_cluster.kubectl(*job)
    pids = eventually(lambda: _pids_with(seconds))

    if how == "down":
        own_cluster.down()
    else:
        os.kill(own_cluster.status().supervisor, signal.SIGKILL)

    assert all_end(pids)
    assert not _pids_with(seconds)


def _pids_with(word: str) -> list[int]:
    """Return the processes with *word* among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(int(path.parent.name))
    return found
