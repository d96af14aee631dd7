"""The optimize step, run as its pod runs it, on storage that is a folder."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from support.waiting import all_end
from tokenizers import Tokenizer

from bertjob_api import names, termination
from bertjob_api.job import parse_job
from bertjob_api.manifest import ModelManifest
from bertjob_serving import engine
from bertjob_serving.artifact import check_answers, open_artifact
from bertjob_serving.optimize.run import Inputs, optimize

from .conftest import Step, make_step


def _artifact(uri: str) -> tuple[Path, ModelManifest]:
    folder = Path(uri.removeprefix("file://"))
    return folder, ModelManifest.from_json((folder / "manifest.json").read_bytes())


def _run_folder(step: Step) -> Path:
    return next(step.root.glob("store/jobs/default/toy/opt-*"))


def test_int8_artifact_is_published_and_found_again(step: Step) -> None:
    """The winner is an artifact named by its digest, with evaluation; a second run finds it and builds nothing."""
    code, result, log = step.run()

    assert code == termination.OK, log
    assert result.artifact is not None
    assert result.evaluation is not None
    folder, manifest = _artifact(result.artifact.uri)
    assert folder.name == result.artifact.sha256 == manifest.sha256
    assert {entry.path for entry in manifest.files} == {"model.xml", "model.bin", "tokenizer.json", "golden.json"}
    assert manifest.method == result.evaluation.method
    assert manifest.labels == ("negative", "neutral", "positive")
    assert result.evaluation.verdict == "Passed"
    assert result.evaluation.fp32 is not None
    assert result.evaluation.fp32.num_examples == 60
    assert json.loads((_run_folder(step) / "evaluation.json").read_bytes())["evaluation"]["verdict"] == "Passed"
    assert f"{manifest.method} (Passed)" in (_run_folder(step) / "candidates.svg").read_text()

    again_code, again, again_log = step.run()

    assert (again_code, again) == (termination.OK, result)
    assert "found finished, nothing to do" in again_log
    assert "building" not in again_log


def test_killed_step_resumes_with_what_it_has(step: Step) -> None:
    """Without the final result, finished candidates are taken from storage: same digest, nothing built."""
    _, first, _ = step.run()
    (_run_folder(step) / "result.json").unlink()

    code, second, log = step.run()

    assert code == termination.OK
    assert second == first
    assert log.count("found finished, nothing to do") == 2
    assert "building" not in log


@pytest.mark.slow
def test_same_input_gives_same_digest(step: Step) -> None:
    """Built anew from nothing, on one CPU instead of all, the artifacts have the digests they had."""
    step = step.with_spec(optimize={"methods": ["dynamic", "static"], "calibrationSamples": 16})
    allowed = os.sched_getaffinity(0)
    digests = []
    for cpus in (allowed, {min(allowed)}):
        os.sched_setaffinity(0, cpus)
        try:
            step.run()
        finally:
            os.sched_setaffinity(0, allowed)
        found = {path.stem: json.loads(path.read_bytes()) for path in _run_folder(step).glob("candidates/*.json")}
        digests.append({name: record["artifact"]["sha256"] for name, record in found.items()})
        for path in sorted(_run_folder(step).rglob("*.json")):
            path.unlink()

    assert set(digests[0]) == {"fp32", "fp32-onnx", "dynamic", "dynamic-onnx", "static"}
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_both_engines_are_measured(step: Step) -> None:
    """There is a candidate for each engine, the winner says which loads it, all has figures, and references are shown only."""
    optimize = {"methods": ["dynamic"], "references": ["torch", "magnitude"]}

    code, result, log = step.with_spec(optimize=optimize).run()

    assert code == termination.OK, log
    assert result.artifact is not None
    assert result.evaluation is not None
    assert result.evaluation.int8 is not None
    written = json.loads((_run_folder(step) / "evaluation.json").read_bytes())
    rows = {row["method"]: row for row in written["candidates"]}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "fp32": None,
        "fp32-onnx": None,
        "dynamic": "Passed",
        "dynamic-onnx": "Passed",
        "torch": None,
        "magnitude-onnx": None,
    }
    assert {name for name, row in rows.items() if row["artifact"] is None} == {"torch", "magnitude-onnx"}
    assert rows["magnitude-onnx"]["measured"]["weights_bytes"] == rows["dynamic-onnx"]["measured"]["weights_bytes"]
    assert rows["torch"]["figures"]["size_ratio"] < 1
    assert re.search(r"^torch +reference +", log, re.MULTILINE)
    assert rows["fp32"]["value"] == rows["fp32-onnx"]["value"]
    assert all(row["bounds"][0] <= row["value"] <= row["bounds"][1] for row in rows.values())
    assert all(row["measured"]["peak_bytes"] > 1e7 for name, row in rows.items() if name != "torch")
    fastest = max(("dynamic", "dynamic-onnx"), key=lambda name: rows[name]["figures"]["speedup"]["value"])
    assert result.evaluation.method == fastest
    served = open_artifact(_artifact(result.artifact.uri)[0])
    check_answers(served, engine.library(served.manifest.engine).compiled(served.folder, threads=1))
    scores = result.evaluation.int8
    assert (scores.fixed_tokens, scores.peak_memory_bytes) == (32, rows[fastest]["measured"]["peak_bytes"])
    assert scores.value_low is not None
    assert scores.value_high is not None
    assert scores.value_low <= scores.value_high


def test_without_optimize_fp32_is_published(step: Step) -> None:
    """A job without optimize gets the converted FP32 artifact and no verdict."""
    code, result, log = step.with_spec(optimize=None, gate=None).run()

    assert code == termination.OK, log
    assert result.artifact is not None
    assert result.evaluation is not None
    assert (result.evaluation.verdict, result.evaluation.method) == (None, "fp32")
    assert _artifact(result.artifact.uri)[1].method == "fp32"


def test_gate_refuses_what_is_too_slow(step: Step) -> None:
    """No candidate is 1000 times faster: exit 42, GateFailed, the figures in the message, nothing to serve."""
    code, result, log = step.with_spec(gate={"maxAccuracyDrop": 0.5, "minSpeedup": 1000, "maxSizeRatio": 0.5}).run()

    assert code == termination.USER_ERROR, log
    assert result.artifact is None
    assert result.failure is not None
    assert result.failure.reason == "GateFailed"
    assert "minSpeedup is 1000" in result.failure.message
    assert result.evaluation is not None
    assert result.evaluation.verdict == "Failed"
    assert result.evaluation.int8 is not None


def test_candidate_that_cannot_be_made_fails_alone(tmp_path: Path) -> None:
    """A model that cannot be fine-tuned fails that candidate with its reason; the other one wins."""
    step = make_step(tmp_path, activation="gelu_new")

    code, result, log = step.with_spec(optimize={"methods": ["dynamic", "qat"], "engines": ["openvino"]}).run()

    assert code == termination.OK, log
    assert result.evaluation is not None
    assert result.evaluation.method == "dynamic"
    assert any(row.startswith("qat: Failed: UnsupportedError: config.json: hidden_act") for row in result.details)
    assert re.search(r"^qat +Failed +-", log, re.MULTILINE)


@pytest.mark.slow
def test_candidate_that_does_not_end_fails_alone(step: Step) -> None:
    """One that hangs is ended after its time with the reason in the table, and what was finished before is used."""
    step.run()
    for name in ("result.json", "candidates/dynamic.json"):
        (_run_folder(step) / name).unlink()
    scratch = step.root / "scratch"
    scratch.mkdir()

    result = optimize(
        Inputs(
            job=parse_job(step.job, local=True),
            model_uri=step.model_uri,
            model_sha256=step.model_sha256,
            scratch=scratch,
            timeout_s=0.3,
        )
    )

    assert result.failure is not None
    assert "dynamic: Failed: was stopped after 0 s without an end" in result.failure.message
    assert not (_run_folder(step) / "result.json").exists()
    assert (_run_folder(step) / "evaluation.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)  # eight processes, half of them with torch, half of them on one CPU
def test_reworked_candidates_are_smaller_and_found_again(step: Step) -> None:
    """Pruned and fine-tuned models are candidates like others: measured, published with one digest however many CPUs there are."""
    optimize = {
        "methods": ["qat", "pruning"],
        "engines": ["onnxruntime"],
        "pruning": {"heads": 0.5, "channels": 0.5},
        "fineTune": {"examples": 40, "epochs": 2},
    }
    step = step.with_spec(optimize=optimize)
    allowed, found = os.sched_getaffinity(0), []
    for cpus in (allowed, {min(allowed)}):
        os.sched_setaffinity(0, cpus)
        try:
            code, _, log = step.run()
        finally:
            os.sched_setaffinity(0, allowed)
        assert code == termination.OK, log
        written = json.loads((_run_folder(step) / "evaluation.json").read_bytes())
        found.append({row["method"]: row for row in written["candidates"]})
        for path in sorted(_run_folder(step).rglob("*.json")):
            path.unlink()

    assert {name: row["verdict"] for name, row in found[0].items()}["pruning-onnx"] == "Passed"
    sizes = {name: row["measured"]["weights_bytes"] for name, row in found[0].items()}
    assert sizes["pruning-onnx"] < 0.8 * sizes["qat-onnx"] < 0.8 * 0.4 * sizes["fp32"]
    digests = [{name: row["artifact"]["sha256"] for name, row in rows.items()} for rows in found]
    assert digests[0] == digests[1]


def test_words_of_other_languages_are_left_out_when_told_so(step: Step) -> None:
    """With vocabulary Language the INT8 model has no embeddings of placeholders; FP32, which it is compared with, has all."""
    optimize = {"methods": ["dynamic"], "engines": ["openvino"], "vocabulary": "Language"}

    code, result, log = step.with_spec(optimize=optimize).run()

    assert code == termination.OK, log
    assert "vocabulary: 17 of 19 tokens are of the language of the training texts" in log
    assert result.artifact is not None
    served = open_artifact(_artifact(result.artifact.uri)[0])
    check_answers(served, engine.library("openvino").compiled(served.folder, threads=1))


def test_texts_stay_out_when_told_so(step: Step) -> None:
    """With privacy.storeTexts false no text of the data is in storage or log, nor its token ids, which spell it as well."""
    code, result, log = step.with_spec(privacy={"storeTexts": False}).run()

    written = [path.read_bytes() for path in (step.root / "store" / "jobs").rglob("*") if path.is_file()]
    assert code == termination.OK
    assert not [data for data in written if b"secret1" in data]
    assert "secret1" not in log
    assert result.artifact is not None
    folder, _ = _artifact(result.artifact.uri)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    golden = json.loads((folder / "golden.json").read_bytes())["items"]
    rows = (step.root / "validation.jsonl").read_text().splitlines()
    spelled = {tuple(tokenizer.encode(json.loads(row)["text"]).ids) for row in rows}
    assert len(golden) == 32
    assert not [item for item in golden if tuple(item["ids"]) in spelled]


def test_texts_are_kept_otherwise(step: Step) -> None:
    """The golden set holds texts by default."""
    _, result, _ = step.run()

    assert result.artifact is not None
    golden = json.loads((_artifact(result.artifact.uri)[0] / "golden.json").read_bytes())
    assert len(golden["items"]) == 32
    assert all("secret" in item["text"] for item in golden["items"])


def test_wrong_label_is_the_users_mistake(step: Step) -> None:
    """A label that the model does not know ends with 42 and names file and line."""
    (step.root / "validation.jsonl").write_text('{"text": "good day", "label": "odd"}\n')

    code, result, _ = step.run()

    assert code == termination.USER_ERROR
    assert result.failure is not None
    assert "validation.jsonl:1" in result.failure.message


def test_live_model_is_compared_on_the_same_texts(step: Step) -> None:
    """With a live model the gate compares with it too, and the status shows its figures."""
    _, first, _ = step.with_spec(optimize=None, gate=None).run()
    assert first.artifact is not None
    limits = {
        "maxAccuracyDrop": 0.5,
        "sizeOnly": True,
        "minSpeedup": 0.01,
        "maxSizeRatio": 0.5,
        "against": ["fp32", "live"],
    }

    code, result, log = step.with_spec(gate=limits).run(**{names.LIVE_URI_ENV: first.artifact.uri})

    assert code == termination.OK, log
    assert result.evaluation is not None
    assert result.evaluation.fp32 is not None
    assert result.evaluation.live is not None
    assert result.evaluation.live.value == result.evaluation.fp32.value
    assert any("liveDrop" in row for row in result.details)


def test_live_model_that_cannot_be_asked_fails_the_gate(step: Step) -> None:
    """A live artifact that is gone is a missing figure, which onMissing decides."""
    limits = {
        "maxAccuracyDrop": 0.5,
        "sizeOnly": True,
        "minSpeedup": 0.01,
        "maxSizeRatio": 0.5,
        "against": ["fp32", "live"],
    }
    gone = {names.LIVE_URI_ENV: f"file://{step.root}/store/gone"}

    code, result, _ = step.with_spec(gate=limits).run(**gone)
    ignored, _, _ = step.with_spec(gate={**limits, "onMissing": "Ignore"}).run(**gone)

    assert code == termination.USER_ERROR
    assert result.failure is not None
    assert "liveDrop: could not be measured" in result.failure.message
    assert ignored == termination.OK


def _until(process: "subprocess.Popen[str]", sentence: str) -> None:
    """Read the log up to a line that holds *sentence*."""
    assert process.stderr is not None
    for line in process.stderr:
        if sentence in line:
            return
    pytest.fail(f"the program ended without {sentence!r}")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, termination.EVICTED), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_step_leaves_no_process_and_is_resumed(step: Step, sent: signal.Signals, code: int) -> None:
    """Ended while a candidate is made, it takes that process along; the next run does only what is missing."""
    with step.start() as process:
        _until(process, "dynamic: building")
        children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        process.send_signal(sent)
        assert process.wait(60) == code

    assert children
    assert all_end(children)
    done, _, log = step.run()
    assert done == termination.OK
    assert "fp32: found finished, nothing to do" in log
    assert "dynamic: building" in log


def test_missing_data_is_the_users_mistake(step: Step) -> None:
    """Held-out data that is not there ends with 42 and names the URI."""
    (step.root / "validation.jsonl").unlink()

    code, result, _ = step.run()

    assert code == termination.USER_ERROR
    assert result.failure is not None
    assert result.failure.reason == "NotFound"
    assert "validation.jsonl" in result.failure.message
