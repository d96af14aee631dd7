"""The supervisor's HTTP."""

import http.client
import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from bertjob_trainer import supervisor_http
from bertjob_trainer.supervisor_progress import Board

Servers = tuple[ThreadingHTTPServer, ThreadingHTTPServer]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Give the server for the cluster and the one for the workers, on one board."""
    board = Board(alive=lambda _pid: True)
    pair = (
        supervisor_http.serve(board, address="127.0.0.1", port=0, writable=False),
        supervisor_http.serve(board, address="127.0.0.1", port=0, writable=True),
    )
    yield pair
    for server in pair:
        server.shutdown()
        server.server_close()


def ask(server: ThreadingHTTPServer, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


REPORT = json.dumps({"rank": 1, "step": 7, "workers": [{"rank": 1, "pid": 5}]}).encode()


def test_report_is_read_outside(servers: Servers) -> None:
    """What a worker posts on loopback is what the cluster reads, as progress and as metrics."""
    outside, inside = servers
    assert ask(inside, "POST", "/progress", REPORT)[0] == 200
    status, text = ask(outside, "GET", "/progress")
    seen = json.loads(text)
    assert status == 200
    assert (seen["rank"], seen["step"], seen["restarts"], seen["workers"]) == (1, 7, 0, [{"rank": 1, "pid": 5}])
    assert "bertjob_training_step 7\n" in ask(outside, "GET", "/metrics")[1]


def test_nobody_outside_may_report(servers: Servers) -> None:
    """The server that the cluster reaches takes no reports."""
    outside, _ = servers
    assert ask(outside, "POST", "/progress", REPORT)[0] == 404
    assert "step" not in json.loads(ask(outside, "GET", "/progress")[1])


def test_kubeflow_callback(servers: Servers) -> None:
    """The status callback of Kubeflow Trainer is taken on its own path."""
    outside, inside = servers
    body = json.dumps({"trainerStatus": {"metrics": [{"name": "current_step", "value": "3"}]}}).encode()
    assert ask(inside, "POST", "/kubeflow/status", body)[0] == 200
    assert json.loads(ask(outside, "GET", "/progress")[1])["step"] == 3


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"step": "x"}', b'{"unknown": 1}', b'{"loss": NaN}'])
def test_bad_reports_are_refused(servers: Servers, body: bytes) -> None:
    """A malformed report is 400 with the reason and changes nothing."""
    _, inside = servers
    status, text = ask(inside, "POST", "/progress", body)
    assert (status, bool(text.strip())) == (400, True)
    assert "step" not in json.loads(ask(inside, "GET", "/progress")[1])


def test_launcher_counts_failures(servers: Servers) -> None:
    """A failure that the launcher tells on loopback is a restart of this pod; from outside it is not taken."""
    outside, inside = servers
    assert ask(inside, "POST", "/failures", b"")[0] == 200
    assert ask(outside, "POST", "/failures", b"")[0] == 404
    assert json.loads(ask(outside, "GET", "/progress")[1])["restarts"] == 1


def test_health_and_unknown_paths(servers: Servers) -> None:
    """/healthz answers ok; other paths say what there is."""
    outside, _ = servers
    assert ask(outside, "GET", "/healthz") == (200, "ok\n")
    assert ask(outside, "GET", "/")[0] == 404
