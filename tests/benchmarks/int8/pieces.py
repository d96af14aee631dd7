"""The parts of the benchmark that are measured at one go, each beside the baseline, and kept so that nothing is measured twice."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from support.benching import OUT

import bertjob_serving
from bertjob_serving import cpu

Part = Literal["fixed", "mix", "operators"]
PARTS: Final[tuple[Part, ...]] = ("fixed", "mix", "operators")
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "fp32": ("fp32", "fp32-onnx"),
    "int8": ("dynamic", "dynamic-onnx", "static"),
    "pruning": ("pruning", "pruning-onnx", "dynamic-onnx", "magnitude-onnx"),
    "peers": ("torch-quantize-dynamic", "onnxruntime-dynamic", "openvino-weights", "openvino-static"),
}
"""Engines that are timed together with the baseline; qat is not among them: a fine-tune changes neither speed nor size."""
KEPT: Final = OUT / "int8"
_LIBRARIES: Final = ("torch", "transformers", "onnxruntime", "openvino", "nncf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one measurement gave."""

    group: str
    part: Part
    stamp: str
    """Names all that figures depend on: pieces of one stamp belong together."""
    seconds: Mapping[str, list[float]] = field(default_factory=dict)
    """Of each engine in each round, the baseline's too."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the weights."""
    more: Mapping[str, Any] = field(default_factory=dict)


def stamp(shape: str, *, threads: int) -> str:
    """Return the name of these settings, CPU, libraries and of our code that makes candidates."""
    root = Path(bertjob_serving.__file__).parent
    code = [path.read_bytes() for path in sorted([*root.glob("*.py"), *root.glob("optimize/**/*.py")])]
    told = [shape, threads, cpu.model(), sorted(cpu.features()), [metadata.version(name) for name in _LIBRARIES]]
    return sha256(json.dumps(told).encode() + b"".join(code)).hexdigest()[:12]


def keep(piece: Piece, *, shape: str) -> None:
    """Write a piece; one of the same name is replaced."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{shape}-{piece.group}-{piece.part}-{piece.stamp}.json"
    path.write_text(json.dumps(asdict(piece), indent=2) + "\n", encoding="utf-8")


def kept(shape: str, *, stamp: str) -> dict[tuple[str, str], Piece]:
    """Return the pieces with this *stamp* by group and part."""
    paths = KEPT.glob(f"{shape}-*-{stamp}.json")
    found = [Piece(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(paths)]
    return {(piece.group, piece.part): piece for piece in found}
