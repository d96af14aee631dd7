"""A trained-like model, data and the environment of an optimize pod, all below a temporary folder."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from bertjob_api import names, termination
from bertjob_api.manifest import ModelManifest
from bertjob_api.termination import Result
from bertjob_storage import folders, open_storage

WORDS = ("good", "bad", "fine", "poor", "warm", "cold", "day", "night", "very", "not", "so", "a")
OTHERS = ("[unused0]", "\u043a\u043e\u0442")
"""Words of the vocabulary that no text has."""
LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Step:
    """One optimize step, ready to run."""

    root: Path
    job: dict[str, Any]
    model_uri: str
    model_sha256: str

    def with_spec(self, **parts: Any) -> "Step":
        """Return the step with top-level parts of the spec replaced; None removes one."""
        spec = {key: value for key, value in {**self.job["spec"], **parts}.items() if value is not None}
        return replace(self, job={**self.job, "spec": spec})

    def run(self, **more: str) -> tuple[int, Result, str]:
        """Run the program with *more* environment and return its exit code, its result and its log."""
        message = self.root / "termination"
        message.unlink(missing_ok=True)
        with self.start(**more) as process:
            _, log = process.communicate(timeout=280)
        result = termination.decode(message.read_text())
        assert result is not None, log
        return process.returncode, result, log

    def start(self, **more: str) -> "subprocess.Popen[str]":
        """Return the running program; its log is on stderr."""
        spec = self.root / "job.json"
        spec.write_text(json.dumps(self.job))
        env = {
            **os.environ,
            names.SPEC_FILE_ENV: str(spec),
            names.MODEL_URI_ENV: self.model_uri,
            names.MODEL_SHA256_ENV: self.model_sha256,
            names.TERMINATION_LOG_ENV: str(self.root / "termination"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            **more,
        }
        argv = [sys.executable, "-m", "bertjob_serving.optimize"]
        return subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def step(tmp_path: Path) -> Step:
    """Return an optimize step of the test's own."""
    return make_step(tmp_path)


def make_step(tmp_path: Path, *, activation: str = "gelu") -> Step:
    """Return an optimize step with one candidate and a gate that any candidate passes."""
    model = _model(tmp_path / "model", activation)
    manifest = ModelManifest(
        role="trained",
        task="sequence-classification",
        labels=LABELS,
        max_sequence_length=32,
        engine="safetensors",
        engine_version="0",
        method="fp32",
        files=folders.file_entries(model),
    )
    uri = f"file://{tmp_path}/store/trained/{manifest.sha256}"
    folders.publish(open_storage(uri), model, uri, manifest)
    for name, count in (("train", 40), ("validation", 60)):
        (tmp_path / f"{name}.jsonl").write_text("".join(_row(index) for index in range(count)))
    spec = {
        "model": {"source": "preset://bert-tiny", "task": "sequence-classification", "labels": list(LABELS)},
        "data": {
            "train": f"file://{tmp_path}/train.jsonl",
            "validation": f"file://{tmp_path}/validation.jsonl",
            "maxSequenceLength": 32,
        },
        "optimize": {"methods": ["dynamic"], "engines": ["openvino"], "calibrationSamples": 16},
        "gate": {"maxAccuracyDrop": 0.5, "sizeOnly": True, "minSpeedup": 0.01, "maxSizeRatio": 0.5},
        "storage": {"prefix": f"file://{tmp_path}/store"},
    }
    metadata = {"name": "toy", "namespace": "default", "uid": "u"}
    job = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
    return Step(root=tmp_path, job=job, model_uri=uri, model_sha256=manifest.sha256)


def _row(index: int) -> str:
    text = " ".join(WORDS[(index * step + step) % len(WORDS)] for step in range(1, 4 + index % 9))
    return json.dumps({"text": f"{text} secret{index}", "label": LABELS[index % len(LABELS)]}) + "\n"


def _model(folder: Path, activation: str) -> Path:
    torch.manual_seed(3)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    config = BertConfig(
        vocab_size=len(specials) + len(WORDS) + len(OTHERS),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        hidden_act=activation,
        max_position_embeddings=64,
        initializer_range=0.1,
        id2label=dict(enumerate(LABELS)),
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join([*specials, *WORDS, *OTHERS]) + "\n", encoding="utf-8")
    return folder
