"""The ``bertjob`` command as a person meets it: clear errors, no traceback, exit codes."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from unittest.mock import ANY

import pytest
import yaml
from support.jobs import a_job

from bertjob_api.job import parse_job
from bertjob_cli import completion, logs, main, render, status


class Model(BaseHTTPRequestHandler):
    """A V1 model server for the model ``docs``."""

    def do_POST(self) -> None:
        """Answer each text with its length, or 404 for another model."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path == "/v1/models/docs:predict"
        answer = {"predictions": [len(text) for text in body["instances"]]} if known else {"error": "no such model"}
        data = json.dumps(answer).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Give the URL of a model server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as found:
        thread = Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_report_is_copied_from_beside_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path of the copy is what is printed; a model without a report is one clear line."""
    (tmp_path / "abc.report.html").write_text("<p>")
    target = tmp_path / "out.html"

    assert _run(capsys, "report", f"file://{tmp_path}/abc", "-o", str(target)) == (0, f"{target}\n", "")
    assert target.read_text() == "<p>"
    code, _, error = _run(capsys, "report", f"file://{tmp_path}/other", "-o", str(target))
    assert code == 2
    assert "other.report.html: there is no report; the training of a BertJob writes one" in error


def test_answers_come_one_a_line(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each text gets its answer as JSON on its own line."""
    assert _run(capsys, "predict", "docs", "ab", "abc", "--url", server) == (0, "2\n3\n", "")
    assert _run(capsys, "predict", "--json", "docs", '["a", "b", "c"]', "--url", server) == (0, "3\n", "")


def test_options_stand_where_one_likes(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option between the name and the texts is no mistake; a word that belongs nowhere is."""
    assert _run(capsys, "predict", "docs", "--url", server, "ab", "--json", "[1]") == (2, "", ANY)
    assert _run(capsys, "predict", "docs", "--url", server, "ab", "abc") == (0, "2\n3\n", "")
    for words in (("status", "docs", "more"), ("predict", "docs", "--url", server, "a", "--wrong")):
        with pytest.raises(SystemExit):
            main.main(words)
        assert f"unrecognized arguments: {words[-1]}" in capsys.readouterr().err.replace("a --wrong", "--wrong")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict", "docs", "a", " "), "text 2: is empty"),
        (("predict", "--json", "docs", "[1]", "{"), "text 2: is not JSON"),
        (("predict", "other", "a"), "answered 404: .*no such model.*check the model's name"),
    ],
    ids=["empty text", "not JSON", "unknown model"],
)
def test_refused_question(words: tuple[str, ...], said: str, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be answered is one line on stderr and exit code 2."""
    code, out, err = _run(capsys, *words, "--url", server)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"error: .*{said}", err)


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that does not answer is named."""
    code, _, err = _run(capsys, "predict", "docs", "a", "--url", "http://127.0.0.1:1")

    assert code == 2
    assert "http://127.0.0.1:1/v1/models/docs:predict: cannot be asked" in err


def test_no_cluster(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing kubeconfig is named, with what to do."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    code, _, err = _run(capsys, "status", "docs")

    assert code == 2
    assert str(tmp_path / "none") in err


def test_logs_without_a_cluster(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Logs of nowhere are one line that says what is missing, not kubectl's guess."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\nexit 0\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    code, out, err = _run(capsys, "logs", "docs")

    assert (code, out) == (2, "")
    assert err == "error: no cluster: KUBECONFIG is not set, ~/.kube/config is not there, and this is no pod\n"


def test_logs_of_a_missing_kubeconfig(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A kubeconfig that is not there is named as by ``bertjob status``; kubectl would ask a server on localhost."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\nexit 0\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    code, out, err = _run(capsys, "logs", "docs")

    assert (code, out) == (2, "")
    assert err == f"error: kubeconfig {tmp_path / 'none'}: no such file; name an existing one or unset KUBECONFIG\n"


def test_every_file_is_validated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The mistakes of one file do not hide those of the next, nor that a third is valid."""
    good, typo = tmp_path / "good.yaml", tmp_path / "typo.yaml"
    good.write_text(yaml.safe_dump(a_job()))
    typo.write_text(yaml.safe_dump(a_job(training={"epoch": 1})))

    code, out, err = _run(capsys, "validate", str(typo), str(tmp_path / "none.yaml"), str(good))

    assert (code, out) == (2, f"{good}: BertJob sentiment is valid\n")
    assert [line.split(": ")[1:3] for line in err.splitlines()] == [
        [str(typo), "spec.training.epoch"],
        [str(tmp_path / "none.yaml"), "cannot be read (No such file or directory); name a YAML file with a BertJob"],
    ]


@pytest.mark.parametrize(("storage", "said"), [("ftp://host/x", "expected a folder or s3"), ("{file}", "is a file")])
def test_storage_that_is_none(storage: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A place that cannot be storage is refused before anything runs."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(a_job()))

    code, _, err = _run(capsys, "run", str(path), "--storage", storage.format(file=path))

    assert code == 2
    assert err.startswith(f"error: --storage {storage.format(file=path)}: ")
    assert said in err
    assert err.count("\n") == 1


def test_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C ends a run with one line and the code of an interrupted program, and leaves no files of it behind."""
    path, state = tmp_path / "job.yaml", tmp_path / "state"
    path.write_text(yaml.safe_dump(a_job()))
    argv = [sys.executable, "-m", "bertjob_cli.main", "run", str(path), "--storage", str(tmp_path / "storage")]
    env = {**os.environ, "XDG_STATE_HOME": str(state)}
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=env) as run:
        assert run.stderr is not None
        assert "preflight" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        said = run.stderr.read().splitlines()

    assert run.returncode == 130
    assert said[-1] == "interrupted; the same command goes on from what is in storage"
    assert list((state / "bertjob" / "runs").iterdir()) == []


def test_state_folder_that_cannot_be_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A home that takes no files is one line that says where else they can go."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(a_job()))
    monkeypatch.setenv("XDG_STATE_HOME", str(path))

    code, _, err = _run(capsys, "run", str(path), "--storage", str(tmp_path))

    assert code == 2
    assert err == f"error: state folder {path}/bertjob/runs: Not a directory; use --state DIR or set XDG_STATE_HOME\n"


def test_home_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A local cluster whose folder cannot be made is refused by one line that names another way, before anything is built."""
    (tmp_path / "file").touch()

    code, out, err = _run(capsys, "local", "--state", str(tmp_path / "file" / "state"), "up")

    assert (code, out) == (2, "")
    assert err.startswith(f"error: {tmp_path}/file/state: the cluster's folder cannot be made (Not a directory)")
    assert err.endswith("--state DIR\n")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["sta"], {"status"}),
        (["status", "quick"], {"quickstart"}),
        (["logs", "x", "--comp"], {"--component"}),
        (["logs", "x", "-c", "tr"], {"train"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_words_are_completed_in_bash(typed: list[str], offered: set[str], tmp_path: Path) -> None:
    """Bash offers commands, options, their choices, and the BertJobs that kubectl knows."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho quickstart other\n")
    kubectl.chmod(0o700)
    text = completion.script(main.parser(), "bash")
    words = " ".join(f'"{word}"' for word in ["bertjob", *typed])
    asks = f'COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _shtab_bertjob; printf "%s\\n" "${{COMPREPLY[@]}}"'

    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", f"{text}\n{asks}"], capture_output=True, text=True, check=True, env=env)

    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script of each shell names every command and asks kubectl for BertJobs."""
    code, out, _ = _run(capsys, "completion", shell)

    assert code == 0
    assert "kubectl get bertjobs" in out
    assert all(name in out for name in ("status", "plan-scale", "completion", "follow"))


def test_status_shows_rollout_and_last_events() -> None:
    """The screen of a job tells its traffic, and its last events, oldest first, without those of others."""
    events = [
        {
            "regarding": {"uid": uid},
            "eventTime": f"2026-01-01T00:00:0{second}.000000Z",
            "type": "Normal",
            "reason": f"R{second}",
            "note": "n",
        }
        for second, uid in ((7, "u"), (1, "u"), (2, "other"), (3, "u"), (4, "u"), (5, "u"), (6, "u"))
    ]
    value = a_job()
    value["metadata"]["uid"] = "u"
    value["status"] = {
        "rollout": {"service": "docs", "trafficPercent": 100, "verdict": "Successful", "url": "http://d"}
    }

    lines = status.report(value, events)

    assert lines[-8:-5] == [
        "  rollout: docs: 100 % of the traffic, verdict Successful",
        "  served at http://d",
        "  last events:",
    ]
    assert lines[-5:] == [f"    00:00:0{second}  Normal  R{second}: n" for second in (3, 4, 5, 6, 7)]


def test_mistakes_of_a_file_are_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """validate, render and run name each mistake of a file on a line of its own."""
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(a_job(training={"epoch": 1, "seed": "x"})))

    for command in ("validate", "render", "run"):
        code, out, err = _run(capsys, command, str(path))

        assert (code, out) == (2, "")
        assert err.splitlines() == [
            f"error: {path}: spec.training.epoch: unknown field; did you mean epochs?",
            f"error: {path}: spec.training.seed: got 'x', expected an integer",
        ]


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        ({}, {"preflight", "store", "train-0"}),
        ({"optimize": {}}, {"preflight", "store", "train-0", "optimize"}),
        ({"serving": {"inferenceService": "docs"}}, {"preflight", "store", "train-0", "optimize", "docs"}),
    ],
    ids=["train", "int8", "serve"],
)
def test_render_shows_every_child(spec: dict[str, object], kinds: set[str]) -> None:
    """The Jobs, the store and the InferenceService of a job are shown as the operator names them."""
    shown = [*render.children(parse_job(a_job(**spec)))]

    names = {each["metadata"]["name"].removeprefix("sentiment-") for each in shown}
    assert names - {"worker", "spec"} == kinds
    assert all(each["apiVersion"] and each["kind"] for each in shown)


def test_logs_ask_for_one_component() -> None:
    """The labels of the job's pods select what kubectl shows."""
    options = argparse.Namespace(name="a", namespace="team", component="train", follow=True)

    words = logs.argv(Path("kubectl"), options)

    assert words[:4] == ["kubectl", "logs", "--namespace", "team"]
    assert words[words.index("--selector") + 1] == "bertjob.dev/job=a,bertjob.dev/component=train"
    assert words[-1] == "--follow"
