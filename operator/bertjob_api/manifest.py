"""
Manifests: the small JSON files whose presence commits a folder and whose digests prove its content.

A folder without ``manifest.json`` does not exist as far as anybody who reads it is concerned: files are written first, the
manifest last.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from bertjob_api.digest import canonical_json, sha256_of

MANIFEST: Final = "manifest.json"
T = TypeVar("T")
FORMAT: Final = 1
"""Version of both manifests; a reader refuses what is newer."""


class CorruptError(ValueError):
    """A manifest or a file that it names is not what it must be; the message says which, got and expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a folder."""

    path: str
    """Relative to the folder, with forward slashes."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointManifest:
    """A committed training state."""

    step: int
    """Optimizer steps the state contains."""
    total_steps: int
    run: str
    """Run the state belongs to; another run must not resume from it."""
    attempt: int
    """Attempt that wrote it; an older one may not overwrite it."""
    world_size: int
    samples_seen: int
    files: tuple[FileEntry, ...]

    def to_json(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json({"format": FORMAT, "kind": "checkpoint", **_as_dict(self)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the manifest; raises CorruptError."""
        value = _decode(data, "checkpoint")
        return _build(cls, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """
    A published model: FP32 weights in Hugging Face format, or an artifact for the predictor.

    Holds nothing that was measured, so that the same input gives the same digest.
    """

    role: str
    """"trained" (Hugging Face folder) or "served" (artifact)."""
    task: str
    labels: tuple[str, ...]
    """Class names in the order of the outputs; empty for tasks without classes."""
    max_sequence_length: int
    engine: str
    """"safetensors" for trained models, else the engine that loads it, such as "openvino"."""
    engine_version: str
    method: str
    """"fp32", or how it was made smaller: "dynamic", "static", ..."""
    files: tuple[FileEntry, ...]
    stride: int | None = None
    """``spec.data.stride``; None: the default, and then the manifest does not name it."""
    problem: str | None = None
    """``spec.model.problem``; None: the task's default, and then the manifest does not name it."""
    golden: str | None = None
    """Path of the golden inputs and FP32 outputs within the folder; None: none are kept."""
    cpu_features: tuple[str, ...] = ()
    """CPU features without which the engine must not load it."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Digests of what it was made from: ``model`` for artifacts, ``run`` for trained models."""

    @property
    def sha256(self) -> str:
        """Return the digest that names the folder."""
        return sha256_of(self.to_json())

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(entry.size_bytes for entry in self.files)

    def to_json(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json({"format": FORMAT, "kind": "model", **_as_dict(self)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the manifest; raises CorruptError."""
        value = _decode(data, "model")
        return _build(cls, value)


def _as_dict(manifest: Any) -> dict[str, Any]:
    values = {name: getattr(manifest, name) for name in type(manifest).__dataclass_fields__}
    values["files"] = [
        {"path": entry.path, "sha256": entry.sha256, "size_bytes": entry.size_bytes} for entry in manifest.files
    ]
    return {
        key: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key not in ("problem", "stride") or value is not None
    }


def _decode(data: bytes, kind: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        message = f"{MANIFEST}: is not JSON ({error}); the folder is damaged, use another one"
        raise CorruptError(message) from error
    if not isinstance(value, dict) or value.get("kind") != kind:
        message = f"{MANIFEST}: expected a manifest of a {kind}, got {str(value)[:80]}"
        raise CorruptError(message)
    if value.get("format") != FORMAT:
        message = f"{MANIFEST}: has format {value.get('format')!r}, this version reads {FORMAT}; use the BertJob version that wrote it"
        raise CorruptError(message)
    return {key: item for key, item in value.items() if key not in ("format", "kind")}


def _build(cls: Callable[..., T], value: dict[str, Any]) -> T:
    try:
        files = tuple(FileEntry(**entry) for entry in value.pop("files"))
        fields = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(files=files, **fields)
    except (TypeError, KeyError) as error:
        message = f"{MANIFEST}: lacks or has an unexpected field ({error})"
        raise CorruptError(message) from error
