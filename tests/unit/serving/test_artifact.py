"""What is refused before it is served."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bertjob_api.manifest import FileEntry, ModelManifest
from bertjob_serving import engine
from bertjob_serving.artifact import ArtifactError, open_artifact
from bertjob_storage import folders


def _saved(folder: Path, **changes: Any) -> Path:
    (folder / "model.bin").write_bytes(b"weights")
    manifest = ModelManifest(
        role="served",
        task="sequence-classification",
        labels=("a", "b"),
        max_sequence_length=8,
        engine="openvino",
        engine_version=engine.library("openvino").version(),
        method="dynamic",
        files=folders.file_entries(folder),
    )
    (folder / "manifest.json").write_bytes(replace(manifest, **changes).to_json())
    return folder


def test_intact_artifact_is_opened(tmp_path: Path) -> None:
    """Manifest and files fit."""
    assert open_artifact(_saved(tmp_path)).manifest.labels == ("a", "b")


@pytest.mark.parametrize(
    ("name", "method", "alone"),
    [
        ("openvino", "dynamic", False),
        ("onnxruntime", "fp32-onnx", False),
        ("onnxruntime", "dynamic-onnx", True),
        ("onnxruntime", "pruning-onnx", True),
    ],
)
def test_answers_that_depend_on_batch_mates_are_given_alone(
    tmp_path: Path, name: str, method: str, alone: bool
) -> None:
    """INT8 of ONNX Runtime is asked one input at a time, everything else in batches."""
    version = engine.library(name).version()

    found = open_artifact(_saved(tmp_path, engine=name, engine_version=version, method=method))

    assert found.answers_alone is alone


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": "trained"}, "role is 'trained', expected 'served'"),
        ({"engine": "tensorflow"}, "the engine 'tensorflow' is not known here, expected openvino or onnxruntime"),
        ({"engine": "onnxruntime", "engine_version": "9999.1.0"}, "made by onnxruntime 9999.1.0"),
        ({"engine_version": "9999.1.0"}, "made by openvino 9999.1.0, this predictor has the older"),
        ({"cpu_features": ("no_such_feature",)}, "needs the CPU features no_such_feature"),
        ({"files": (FileEntry(path="model.bin", sha256="0" * 64, size_bytes=7),)}, "expected 000000"),
        ({"files": (FileEntry(path="model.bin", sha256="0" * 64, size_bytes=8),)}, "has 7 bytes, expected 8"),
        ({"files": (FileEntry(path="gone", sha256="0" * 64, size_bytes=8),)}, "cannot be read"),
        ({"files": (FileEntry(path="../x", sha256="0" * 64, size_bytes=8),)}, "outside the folder"),
    ],
    ids=["role", "engine", "other version", "version", "cpu", "digest", "size", "missing", "path"],
)
def test_unfit_artifact_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """The message says what was got and expected."""
    folder = tmp_path / "artifact"
    folder.mkdir()

    with pytest.raises(ArtifactError, match=re.escape(message)):
        open_artifact(_saved(folder, **changes))


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    """A folder that was never published is no artifact."""
    with pytest.raises(ArtifactError, match="point storageUri at a published artifact"):
        open_artifact(tmp_path)
