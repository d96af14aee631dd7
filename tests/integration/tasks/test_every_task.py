"""Each task from rows to the served answer of its INT8 model."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import workers
from support.task_jobs import TOYS, Toy, a_task_job
from transformers import AutoConfig

from bertjob_api.job import parse_job
from bertjob_api.manifest import ModelManifest
from bertjob_api.status import Artifact
from bertjob_serving.optimize.run import Inputs, optimize
from bertjob_serving.predictor import protocol, server
from bertjob_serving.predictor.settings import Limits, Settings


def trained(folder: Path, job: dict[str, Any], *, toy: Toy) -> Artifact:
    """Return the model that one worker trains, which must have learnt its task."""
    ((code, log),) = workers.run(folder, job)
    assert code == 0, log
    result = workers.result_of(folder)
    assert result.artifact is not None
    assert result.metrics is not None
    assert result.metrics[toy.metric] > toy.bar, result.metrics
    return result.artifact


def served(folder: Path, job: dict[str, Any], model: Artifact) -> tuple[Path, dict[str, float | None]]:
    """Return the folder of the INT8 artifact, and the metric of FP32 and INT8."""
    inputs = Inputs(
        job=parse_job(job, local=True), model_uri=model.uri, model_sha256=model.sha256, scratch=folder / "scratch"
    )
    inputs.scratch.mkdir()
    result = optimize(inputs)
    assert result.failure is None
    assert result.artifact is not None
    assert result.evaluation is not None
    scores = {"fp32": result.evaluation.fp32, "int8": result.evaluation.int8}
    assert all(score is not None for score in scores.values())
    assert {score.metric for score in scores.values() if score} == {_metric_of(job)}
    return Path(result.artifact.uri.removeprefix("file://")), {
        name: score.value for name, score in scores.items() if score
    }


def _metric_of(job: dict[str, Any]) -> str:
    model = job["spec"]["model"]
    return next(toy.metric for toy in TOYS if (toy.name, toy.problem) == (model["task"], model.get("problem")))


SLOW = ("sentence-pair-regression", "sequence-classification-multi-label")
"""They go the way of the other tasks on whole texts, and each takes ten seconds."""


@pytest.mark.parametrize(
    "toy",
    [pytest.param(toy, marks=[pytest.mark.slow] if toy.id in SLOW else []) for toy in TOYS],
    ids=lambda toy: toy.id,
)
async def test_task_is_learnt_judged_and_answered(toy: Toy, tmp_path: Path) -> None:
    """A tiny model learns it, transformers can load the export, INT8 is as good, and the predictor answers in its terms."""
    job = a_task_job(tmp_path, toy)
    model = trained(tmp_path, job, toy=toy)
    folder, scores = served(tmp_path, job, model)
    assert scores["fp32"] is not None
    assert scores["fp32"] > min(toy.bar, toy.served)
    assert scores["int8"] == pytest.approx(scores["fp32"], abs=0.1)

    manifest = ModelManifest.from_json((folder / "manifest.json").read_bytes())
    assert (manifest.task, manifest.problem) == (toy.name.replace("pretraining", "masked-lm"), toy.problem)
    exported = AutoConfig.from_pretrained(model.uri.removeprefix("file://"))
    assert exported.num_labels == len(manifest.labels) or manifest.labels == ()

    settings = Settings(model_name="toy", model_dir=folder, host="127.0.0.1", port=0, limits=Limits())
    artifact, worker = server.load(settings)
    form = protocol.Form(artifact.task.inputs, takes_words=artifact.task.takes_words)
    query = protocol.v1_query({"instances": [toy.asked] * 2}, form, Limits())
    found = await worker.logits(query.items)
    answers = [
        artifact.task.decode(logits, tokens, item, labels=manifest.labels, with_scores=False)
        for (tokens, logits), item in zip(found, query.items, strict=True)
    ]
    worker.close()
    assert answers[0] == answers[1]
    assert json.loads(json.dumps(answers[0])) | toy.answer == answers[0]
    assert artifact.task.columns(answers, labels=manifest.labels).keys() == artifact.task.outputs.keys()
