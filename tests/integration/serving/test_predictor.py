"""The model server as a process, on an artifact that optimize made."""

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.s3_gateway import free_port
from support.waiting import eventually

from bertjob_api import names, termination

from .conftest import Step, make_step

READY_S = 120


@dataclass
class Server:
    """A running predictor."""

    process: "subprocess.Popen[str]"
    url: str
    log: list[str]
    reader: threading.Thread
    client: httpx.Client

    def predict(self, instances: list[Any], **more: Any) -> httpx.Response:
        """Ask by V1."""
        return self.client.post(f"{self.url}/v1/models/toy:predict", json={"instances": instances, **more})

    def infer(self, body: Any) -> httpx.Response:
        """Ask by V2."""
        return self.client.post(f"{self.url}/v2/models/toy/infer", json=body)


def _argv(folder: Path, port: int, *more: str) -> list[str]:
    flags = ["--model_name=toy", f"--model_dir={folder}", f"--http_port={port}", *more]
    return [sys.executable, "-m", "bertjob_serving.predictor", *flags]


def _env(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def start(folder: Path, *more: str) -> Server:
    """Return a predictor that is ready."""
    port = free_port()
    process = subprocess.Popen(
        _argv(folder, port, *more),
        env=_env(POD_IP="127.0.0.1"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    log: list[str] = []
    running = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                log.append(line)
                if "running on" in line:
                    running.set()
        running.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert running.wait(READY_S), "".join(log)
    assert process.poll() is None, "".join(log)
    return Server(process, f"http://127.0.0.1:{port}", log, reader, httpx.Client(timeout=30))


def stop(server: Server) -> int:
    """Ask the predictor to end, or take notice that it has, and return its exit code."""
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(40)
    server.reader.join()
    server.client.close()
    return code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """Return an optimize step that has published its artifact."""
    step = make_step(tmp_path_factory.mktemp("made"))
    code, _, log = step.run()
    assert code == 0, log
    return step


@pytest.fixture(scope="module")
def folder(made: Step) -> Path:
    """Return the folder of the published artifact."""
    result = termination.decode((made.root / "termination").read_text())
    assert result is not None
    assert result.artifact is not None
    return Path(result.artifact.uri.removeprefix("file://"))


@contextlib.contextmanager
def running(folder: Path, *more: str) -> Iterator[Server]:
    """Run a predictor that must end well; it ends when the test fails, too."""
    server = start(folder, *more)
    try:
        yield server
    finally:
        code = stop(server)
    assert code == 0, "".join(server.log)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Return a running predictor with small limits."""
    with running(folder, "--max_batch=8", "--max_chars=200", "--max_body_bytes=2000") as found:
        yield found


def test_golden_texts_are_answered_as_recorded(server: Server, folder: Path) -> None:
    """V1 answers label and score that the golden set records, and names its artifact."""
    items = json.loads((folder / "golden.json").read_bytes())["items"][:8]
    labels = json.loads((folder / "manifest.json").read_bytes())["labels"]

    response = server.predict([item["text"] for item in items], parameters={"scores": True})

    assert response.status_code == 200
    assert response.headers["x-bertjob-artifact"] == folder.name
    for item, prediction in zip(items, response.json()["predictions"], strict=True):
        assert prediction["label"] == labels[item["served"].index(max(item["served"]))]
        assert prediction["score"] == max(prediction["scores"].values())
        assert abs(sum(prediction["scores"].values()) - 1) < 1e-6


def test_both_protocols_say_the_same(server: Server) -> None:
    """V2 gives the labels and scores of V1, for JSON and for raw bytes alike."""
    texts = ["good day", "so cold a night", "not bad"]
    v1 = server.predict([{"text": text} for text in texts]).json()["predictions"]
    body = {"id": "7", "inputs": [{"name": "text", "shape": [3], "datatype": "BYTES", "data": texts}]}

    v2 = server.infer(body).json()

    outputs = {item["name"]: item["data"] for item in v2["outputs"]}
    assert v2["id"] == "7"
    assert outputs["label"] == [item["label"] for item in v1]
    assert outputs["score"] == pytest.approx([item["score"] for item in v1], abs=1e-3)
    raw = b"".join(struct.pack("<I", len(text)) + text.encode() for text in texts)
    head = {
        "inputs": [{"name": "text", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}]
    }
    packed = json.dumps(head).encode()
    headers = {"inference-header-content-length": str(len(packed)), "content-type": "application/octet-stream"}
    binary = server.client.post(f"{server.url}/v2/models/toy/infer", content=packed + raw, headers=headers)
    assert {item["name"]: item["data"] for item in binary.json()["outputs"]}["label"] == outputs["label"]


def test_all_scores_by_v2(server: Server) -> None:
    """The parameter scores adds the probabilities of all labels."""
    inputs = [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["good", "bad"]}]

    outputs = server.infer({"inputs": inputs, "parameters": {"scores": True}}).json()["outputs"]

    assert [(item["name"], item["shape"]) for item in outputs] == [("label", [2]), ("score", [2]), ("scores", [2, 3])]


def test_many_at_once_are_answered_like_one_by_one(server: Server) -> None:
    """Batching changes no answer."""
    texts = [" ".join(["good", "bad", "cold"][: index % 3 + 1] * (index % 5 + 1)) for index in range(40)]
    alone = [server.predict([text]).json()["predictions"][0] for text in texts]

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda text: server.predict([text]).json()["predictions"][0], texts))

    assert [item["label"] for item in together] == [item["label"] for item in alone]
    assert [item["score"] for item in together] == pytest.approx([item["score"] for item in alone], abs=0.02)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"instances": []}, 400, "holds no text"),
        ({"texts": ["x"]}, 400, "expected a JSON object"),
        ({"instances": ["x", 5]}, 400, "instances[1]: got int"),
        ({"instances": ["x"] * 9}, 413, "holds 9 texts, expected at most 8"),
        ({"instances": ["x" * 201]}, 413, "text 0: has 201 characters, expected at most 200"),
        ({"instances": ["x" * 3000]}, 413, "longer than 2000 bytes"),
        ({"instances": ["x"], "parameters": {"scores": "yes"}}, 400, "parameters.scores: got str"),
    ],
)
def test_bad_requests_are_told_why(server: Server, body: Any, status: int, message: str) -> None:
    """A request over a limit or without sense gets its status and a sentence."""
    response = server.client.post(f"{server.url}/v1/models/toy:predict", json=body)

    assert response.status_code == status
    assert message in response.json()["error"]


def test_bad_v2_requests_are_told_why(server: Server) -> None:
    """Wrong name, wrong shape and missing fields get 400."""
    one = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    for body in ({"inputs": [{**one, "name": "words"}]}, {"inputs": [{**one, "shape": [2]}]}, {"outputs": []}):
        assert server.infer(body).status_code == 400, body


def test_strange_texts_are_answered(server: Server) -> None:
    """Empty, very long, emoji and control characters get an answer; half a surrogate pair gets 400."""
    texts = ["", " ", "\U0001f600 \u4f60\u597d", "a\x00b\x1f", "good " * 39]

    response = server.predict(texts)

    assert response.status_code == 200
    assert len(response.json()["predictions"]) == len(texts)
    half = server.client.post(f"{server.url}/v1/models/toy:predict", content=b'{"instances": ["\\ud800"]}')
    assert half.status_code == 400


def test_server_tells_its_state(server: Server) -> None:
    """Readiness is per model, metadata names the tensors, unloading is closed, metrics count by code and version."""
    client, url = server.client, server.url

    assert client.get(f"{url}/v1/models/toy").json() == {"name": "toy", "ready": True}
    assert client.get(f"{url}/v2/models/toy/ready").status_code == 200
    assert client.get(f"{url}/v2/models/other/ready").status_code == 404
    assert [item["name"] for item in client.get(f"{url}/v2/models/toy").json()["inputs"]] == ["text"]
    assert client.post(f"{url}/v2/repository/models/toy/unload").status_code == 404
    golden = client.get(f"{url}/v1/models/toy/golden").json()
    assert (golden["total"], golden["agreement"]) == (32, 1.0)
    server.predict(["good"])
    lines = client.get(f"{url}/metrics").text.splitlines()
    assert any(line.startswith('requests_total{code="200",model_version="') for line in lines)
    assert any(line.startswith("request_latency_seconds_bucket{") for line in lines)


def test_accepted_requests_are_finished_after_sigterm(folder: Path) -> None:
    """Requests under way when SIGTERM comes are answered, and the server ends with 0."""
    body = json.dumps({"instances": ["good bad cold"] * 32}).encode()
    accepted, signalled = threading.Event(), threading.Event()

    def parts() -> Iterator[bytes]:
        yield body[:-1]
        accepted.set()
        assert signalled.wait(30)
        yield body[-1:]

    with running(folder) as server, concurrent.futures.ThreadPoolExecutor(1) as pool, httpx.Client() as other:
        answer = pool.submit(server.client.post, f"{server.url}/v1/models/toy:predict", content=parts())
        assert accepted.wait(30)
        eventually(lambda: "requests_in_flight 1" in other.get(f"{server.url}/metrics").text)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: any("Shutting down" in line for line in server.log))
        signalled.set()
        response = answer.result()

    assert response.status_code == 200
    assert len(response.json()["predictions"]) == 32


def test_new_requests_are_answered_for_a_while_after_sigterm(folder: Path) -> None:
    """Who has not heard of SIGTERM yet is served, on new and on kept connections, and sent elsewhere; readiness is gone."""
    with running(folder) as server:
        assert server.predict(["good"]).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: httpx.get(f"{server.url}/v2/models/toy/ready").status_code == 503)
        kept = server.predict(["good"])
        fresh = [httpx.post(f"{server.url}/v1/models/toy:predict", json={"instances": ["bad"]}) for _ in range(3)]
        alive = httpx.get(f"{server.url}/v2/health/live")
        code = server.process.wait(30)

    assert [kept.status_code, alive.status_code, *(answer.status_code for answer in fresh)] == [200] * 5
    assert all(answer.headers["connection"] == "close" for answer in (kept, *fresh))
    assert code == 0, "".join(server.log)


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "golden.json", "manifest.json"])
def test_changed_byte_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """One changed byte in any file: no start, exit 42, one line and a termination message that say what and where."""
    copy = tmp_path / "artifact"
    shutil.copytree(folder, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))
    word = tmp_path / "word"

    done = subprocess.run(
        _argv(copy, free_port()),
        env=_env(**{names.TERMINATION_LOG_ENV: str(word)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=READY_S,
    )

    assert done.returncode == termination.USER_ERROR, done.stderr
    result = termination.decode(word.read_text())
    assert result is not None
    assert result.failure is not None
    assert (str(copy) if name != "manifest.json" else "manifest.json") in result.failure.message
    assert "Traceback" not in done.stderr
