"""Manifests: equal content has equal digests, and damage is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_api.manifest import CheckpointManifest, CorruptError, FileEntry, ModelManifest

FILES = (
    FileEntry(path="model.bin", sha256="ab" * 32, size_bytes=7),
    FileEntry(path="labels.json", sha256="cd" * 32, size_bytes=3),
)


def _model(**changes: object) -> ModelManifest:
    values: dict[str, object] = {
        "role": "served",
        "task": "sequence-classification",
        "labels": ("bad", "good"),
        "max_sequence_length": 128,
        "engine": "openvino",
        "engine_version": "1",
        "method": "static",
        "files": FILES,
        "cpu_features": ("avx512_vnni",),
        "origin": {"model": "ef" * 32},
    }
    return ModelManifest(**{**values, **changes})  # type: ignore[arg-type]


def test_model_manifest_round_trip() -> None:
    """A manifest read back is the manifest written, and has the same digest."""
    manifest = _model(golden="golden.json")
    again = ModelManifest.from_json(manifest.to_json())

    assert again == manifest
    assert again.sha256 == manifest.sha256
    assert manifest.size_bytes == 10


def test_digest_changes_with_content() -> None:
    """Another label order is another model."""
    assert _model().sha256 != _model(labels=("good", "bad")).sha256


@given(st.integers(0, 10**8 - 1), st.integers(0, 99), st.integers(1, 4096))
def test_checkpoint_manifest_round_trip(step: int, attempt: int, world: int) -> None:
    """A checkpoint manifest read back is the one written."""
    manifest = CheckpointManifest(
        step=step,
        total_steps=10**8,
        run="run-1",
        attempt=attempt,
        world_size=world,
        samples_seen=step * 32,
        files=FILES,
    )

    assert CheckpointManifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "expected a manifest of a model"),
        (b'{"kind":"checkpoint","format":1}', "expected a manifest of a model"),
        (b'{"kind":"model","format":2}', "this version reads 1"),
        (b'{"kind":"model","format":1}', "lacks or has an unexpected field"),
        (b'{"kind":"model","format":1,"files":[{"path":"x"}]}', "lacks or has an unexpected field"),
    ],
)
def test_damaged_manifest_is_refused(data: bytes, message: str) -> None:
    """Damage is one error with a cause, never another exception."""
    with pytest.raises(CorruptError, match=message):
        ModelManifest.from_json(data)


@given(st.binary(max_size=200))
def test_random_bytes_never_crash(data: bytes) -> None:
    """Any bytes are either refused as corrupt or a manifest."""
    with pytest.raises(CorruptError):
        ModelManifest.from_json(data)
