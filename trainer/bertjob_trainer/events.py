"""
A run's records as an event file of TensorBoard, without TensorBoard.

Source: TensorFlow documentation, "TFRecord and tf.train.Example" (framing and masked CRC-32C); tensorflow/core/util/event.proto
and framework/summary.proto (fields); Protocol Buffers, "Encoding" (wire format).
"""

import functools
import struct
from collections.abc import Iterable
from typing import Final

from bertjob_trainer.course import EVALUATION, STEP, Record

NAME: Final = "events.out.tfevents.0000000000.bertjob"
"""TensorBoard knows event files by this beginning; one name, so that a run has one file."""
_FOLDERS: Final = {STEP: "train", EVALUATION: "evaluation"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of Protocol Buffers."""


def encode(records: Iterable[Record]) -> bytes:
    """Return the event file: one event for each record, one scalar for each of its figures."""
    version = _field(1, _FIXED64, struct.pack("<d", 0.0)) + _field(3, _BYTES, _sized(b"brain.Event:2"))
    return b"".join(
        [
            _framed(version),
            *(_event(record.kind, record.step, record.time, tuple(record.values.items())) for record in records),
        ]
    )


@functools.lru_cache(maxsize=8192)  # the whole file is written again and again, and a checksum in Python is slow
def _event(kind: str, step: int, time: float, values: tuple[tuple[str, float], ...]) -> bytes:
    folder = _FOLDERS.get(kind, "run")
    scalars = b"".join(_field(1, _BYTES, _sized(_scalar(f"{folder}/{name}", value))) for name, value in values)
    return _framed(
        _field(1, _FIXED64, struct.pack("<d", time))
        + _field(2, _VARINT, _varint(step))
        + _field(5, _BYTES, _sized(scalars))
    )


def _scalar(tag: str, value: float) -> bytes:
    return _field(1, _BYTES, _sized(tag.encode())) + _field(2, _FIXED32, struct.pack("<f", value))


def _field(number: int, wire_type: int, content: bytes) -> bytes:
    return bytes([number << 3 | wire_type]) + content


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return seven bits a byte, the lowest first; all but the last byte have the top bit set."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked_crc(length)) + data + struct.pack("<I", _masked_crc(data))


def _masked_crc(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of *data*. Source: RFC 3720, appendix B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _entry(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    return number


_TABLE: Final = tuple(_entry(number) for number in range(256))
