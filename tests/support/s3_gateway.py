"""A real S3 server on loopback for tests: versitygw over a temporary folder."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bertjob_local.binaries import places

BUCKET = "bertjob-test"


@dataclass(frozen=True)
class Gateway:
    """A running server."""

    endpoint: str
    data: Path
    """Folder whose subfolders are the buckets."""

    @property
    def env(self) -> dict[str, str]:
        """Return the environment that reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "access",
            "AWS_SECRET_ACCESS_KEY": "secret-key",
            "AWS_REGION": "us-east-1",
        }


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[Gateway]:
    """Give a gateway with one bucket, ``BUCKET``; skips the test where no binary is built."""
    binary = places.locate("versitygw")
    if binary is None:
        pytest.skip("versitygw is not built; python -m bertjob_local.binaries builds it")
    data, meta, port = folder / "data", folder / "meta", free_port()
    (data / BUCKET).mkdir(parents=True)
    meta.mkdir()
    argv = [str(binary), "--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive", "posix", "--sidecar", str(meta)]
    env = {**os.environ, "ROOT_ACCESS_KEY": "access", "ROOT_SECRET_KEY": "secret-key"}
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*argv, str(data)], env=env, stdout=output, stderr=output)
    try:
        _await_port(port, process, log)
        yield Gateway(f"http://127.0.0.1:{port}", data)
    finally:
        process.kill()
        process.wait()


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, f"versitygw ended: {log.read_text()}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("versitygw did not listen within 30 s")
