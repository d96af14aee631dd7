"""
Tensors in a file, in the safetensors format.

Own writer: the library's keeps the interpreter's lock while it copies, which stops the training step; ``file.write`` and
``sha256.update`` release it. Reading is the library's.

Source: safetensors format (8 bytes little-endian header length, JSON header padded with spaces to 8 bytes, then the data).
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bertjob_api.manifest import CorruptError, FileEntry

_CODES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_CHUNK: Final = 8 * 1024 * 1024


def write(path: Path, tensors: Mapping[str, torch.Tensor]) -> FileEntry:
    """
    Write contiguous CPU tensors to *path* and return the file's entry, with its name as path.

    Raises:
        ValueError: a tensor's dtype has no code in the format.

    """
    # Widest items first keeps every tensor aligned, as the format asks for.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for part in _parts(order, tensors):
            file.write(part)
            digest.update(part)
            size += len(part)
    return FileEntry(path=path.name, sha256=digest.hexdigest(), size_bytes=size)


def read(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, on the CPU. Raises CorruptError."""
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise CorruptError(f"{path.name}: is no safetensors file ({error})") from error
    return tensors


def _header(order: list[str], tensors: Mapping[str, torch.Tensor]) -> bytes:
    header: dict[str, Any] = {}
    offset = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _CODES:
            raise ValueError(
                f"checkpoint: tensor {name} is {tensor.dtype}, expected one of {', '.join(_CODES.values())}"
            )
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _parts(order: list[str], tensors: Mapping[str, torch.Tensor]) -> Iterator[bytes | memoryview]:
    yield _header(order, tensors)
    for name in order:
        yield from _chunks(tensors[name])


def _chunks(tensor: torch.Tensor) -> Iterator[memoryview]:
    """Yield the tensor's bytes without copying them."""
    assert tensor.is_contiguous()
    assert tensor.device.type == "cpu"
    data = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]
