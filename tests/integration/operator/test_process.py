"""The operator as a process: what its probes say while it waits, leads, or stands by."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from support.waiting import eventually

from bertjob_local.parts import LocalCluster

pytestmark = pytest.mark.cluster


@contextmanager
def _operator(kubeconfig: Path, namespace: str, *more: str) -> Iterator[httpx.Client]:
    """Run an operator and give a client of its probes."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "bertjob_operator", f"--kubeconfig={kubeconfig}", f"--lease-namespace={namespace}"),
            *("--health-host=127.0.0.1", "--health-port=0", *more),
        ],
        env={**os.environ, "BERTJOB_OPERATOR_NAMESPACE": namespace, "PYTHONPATH": "operator"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    log: list[str] = []
    reading = threading.Thread(target=log.extend, args=[process.stderr], daemon=True)  # a full pipe would stop it
    try:
        port = json.loads(process.stderr.readline())["message"].rpartition(" ")[2]
        reading.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        reading.join()
        process.stderr.close()
    assert code == 0, "".join(log)


def _leads(client: httpx.Client) -> bool:
    return "\nbertjob_leader 1.0\n" in client.get("/metrics").text


def test_not_ready_before_the_caches_are_synced(real_controllers: LocalCluster, namespace: str, tmp_path: Path) -> None:
    """Without an API server the process lives and is not ready; with one it becomes ready."""
    config = yaml.safe_load(real_controllers.layout.kubeconfig.read_text())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        away = tmp_path / "kubeconfig"
        away.write_text(yaml.safe_dump(config))
        with _operator(away, namespace, "--no-leader-election") as client:
            ready = client.get("/readyz")
            assert (ready.status_code, ready.text) == (503, "not yet: caches synced\n")
            assert client.get("/healthz").status_code == 200
    with _operator(real_controllers.layout.kubeconfig, namespace, "--no-leader-election") as client:
        assert eventually(lambda: client.get("/readyz").status_code == 200)


def test_standby_is_ready(real_controllers: LocalCluster, namespace: str) -> None:
    """Of two replicas both are ready and one leads."""
    kubeconfig = real_controllers.layout.kubeconfig
    with _operator(kubeconfig, namespace) as first, _operator(kubeconfig, namespace) as second:
        for client in (first, second):
            eventually(lambda client=client: client.get("/readyz").status_code == 200)
        eventually(lambda: _leads(first) or _leads(second))
        eventually(lambda: all(client.get("/readyz").status_code == 200 for client in (first, second)))
        assert not (_leads(first) and _leads(second))
