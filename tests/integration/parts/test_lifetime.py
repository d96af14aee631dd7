"""Parts can be killed, paused and restarted one by one, and all end with their owner."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.cluster import need, running, settings_for
from support.waiting import all_end, eventually

from bertjob_local.parts import ALL_PARTS, API_ONLY, ClusterFailedError, LocalCluster, child, control
from bertjob_local.parts.s3 import BUCKET

pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Give an API server of this test's own, to break."""
    with running(tmp_path / "cluster", settings_for(*API_ONLY)) as cluster:
        yield cluster


def _pids(cluster: LocalCluster) -> list[int]:
    state = cluster.status()
    return [state.supervisor, *(part.pid for part in state.parts.values() if part.pid)]


def _marker(pid: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(each.decode().split("=")[1] for each in variables if each.startswith(child.MARKER.encode()))


def test_down_leaves_no_process(cluster: LocalCluster):
    """After ``down`` nothing runs, asking for the cluster says so, and a second ``down`` is harmless."""
    pids = _pids(cluster)
    marker = _marker(pids[1])

    cluster.down()

    assert all_end(pids)
    assert not child.marked_pids(marker)
    with pytest.raises(control.NotRunningError, match="start one with `up`"):
        cluster.status()
    cluster.down()


def test_killing_the_supervisor_ends_everything(cluster: LocalCluster):
    """Kill -9 of the supervising process takes every part along, and what parts have started."""
    pids = _pids(cluster)
    marker = _marker(pids[1])
    # As a pod of the process kubelet would be: not the supervisor's own child, marked by inheritance.
    env = os.environ | {child.MARKER: marker}
    grandchild = subprocess.Popen(("sleep", "600"), env=env, start_new_session=True)

    os.kill(pids[0], signal.SIGKILL)

    assert all_end([*pids, grandchild.pid])
    assert grandchild.wait() == -signal.SIGKILL


NOT_API = [part for part in ALL_PARTS if part not in API_ONLY]

OWNER = """
import os, sys
from pathlib import Path
from bertjob_local.parts import API_ONLY, LocalCluster, Settings
cluster = LocalCluster.up(Path(sys.argv[1]), Settings(parts=API_ONLY, owner_pid=os.getpid()))
print("up", flush=True)
sys.stdin.read()
"""


def test_killing_the_owner_ends_everything(tmp_path: Path):
    """Kill -9 of the process that owns a cluster, a test run for one, leaves nothing behind."""
    need(API_ONLY)
    root = tmp_path / "owned"
    env = child.child_env(os.environ)
    argv = (sys.executable, "-c", OWNER, str(root))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        pids = _pids(LocalCluster.at(root))

        owner.kill()

        assert all_end(pids)


def test_interrupting_up_leaves_nothing(tmp_path: Path):
    """Ctrl-C while the cluster is starting ends what has started so far."""
    need(API_ONLY)
    root = tmp_path / "interrupted"
    argv = (sys.executable, "-m", "bertjob_local.parts", "--state", str(root), "up", "--without", *NOT_API)
    with subprocess.Popen(argv, env=child.child_env(os.environ), stderr=subprocess.PIPE) as starter:
        eventually((root / "state.json").exists)
        pids = _pids(LocalCluster.at(root))

        starter.send_signal(signal.SIGINT)

        starter.communicate()
    assert starter.returncode == 130
    assert all_end(pids)
    with pytest.raises(control.NotRunningError):
        LocalCluster.at(root)


def test_data_outlives_a_crash_of_the_api_server(cluster: LocalCluster):
    """A crashed API server comes back by itself on the same port with the same objects."""
    cluster.kubectl("create", "configmap", "kept")
    before = cluster.status().parts["apiserver"]

    cluster.crash("apiserver")
    cluster.wait_ready("apiserver")

    after = cluster.status().parts["apiserver"]
    assert (after.port, after.restarts) == (before.port, before.restarts + 1)
    assert after.pid != before.pid
    assert cluster.kubectl("get", "configmap", "kept", "-o", "name") == "configmap/kept\n"


def test_a_killed_part_stays_down_until_started(cluster: LocalCluster):
    """A part that was killed on purpose does not come back before it is asked to."""
    cluster.kill("apiserver")

    with pytest.raises(subprocess.CalledProcessError):
        cluster.kubectl("get", "namespaces", "--request-timeout=2s")
    assert cluster.status().parts["apiserver"].phase == "stopped"

    cluster.start("apiserver")
    assert "namespace/default" in cluster.kubectl("get", "namespaces", "-o", "name")


def test_a_paused_part_answers_nothing_until_resumed(cluster: LocalCluster):
    """A paused API server keeps connections open in silence, as behind a dead network, and then goes on."""
    cluster.pause("apiserver")
    with pytest.raises(subprocess.CalledProcessError):
        cluster.kubectl("get", "namespaces", "--request-timeout=1s")

    cluster.resume("apiserver")
    assert "namespace/default" in cluster.kubectl("get", "namespaces", "-o", "name")


def test_a_second_up_in_the_same_folder_is_refused(cluster: LocalCluster):
    """The running cluster is left alone and the message says how to end it."""
    with pytest.raises(ClusterFailedError, match=r"already runs in .*`down` ends it"):
        LocalCluster.up(cluster.layout.root, settings_for(*API_ONLY))

    assert cluster.status().phase == "ready"


def test_an_unknown_part_is_refused(cluster: LocalCluster):
    """A fault for a part that does not run names those that do."""
    with pytest.raises(ValueError, match="part 'scheduler' does not run here; expected one of etcd, apiserver"):
        cluster.kill("scheduler")


def test_a_part_that_cannot_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When a part ends before it is ready, ``up`` fails with its name and last words, and leaves no process."""
    need(API_ONLY)
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "etcd").write_text("#!/bin/sh\necho no room for data\nexit 3\n")
    (assets / "etcd").chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))

    with pytest.raises(ClusterFailedError, match=r"etcd ended before it was ready.*no room for data"):
        LocalCluster.up(tmp_path / "cluster", settings_for(*API_ONLY))
    with pytest.raises(control.NotRunningError):
        LocalCluster.at(tmp_path / "cluster")


def test_s3_data_outlives_down(tmp_path: Path):
    """The next ``up`` in the same folder finds the objects of the last, under the same keys."""
    root, settings = tmp_path / "s3", settings_for("s3")
    with running(root, settings) as first:
        _client(first).put_object(Bucket=BUCKET, Key="model", Body=b"weights")

    with running(root, settings) as second:
        assert _client(second).get_object(Bucket=BUCKET, Key="model")["Body"].read() == b"weights"

    second.down(delete=True)
    assert not root.exists()


def _client(cluster: LocalCluster) -> Any:
    env = cluster.env()
    keys = {"aws_access_key_id": env["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
    return boto3.client("s3", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_REGION"], **keys)
