"""Canonical JSON and sha256, so that equal content has equal names everywhere."""

import hashlib
import json
from collections.abc import Mapping


def canonical_json(value: object) -> bytes:
    """
    Return the one JSON spelling of *value*: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        ValueError: *value* holds NaN or infinity, which JSON cannot carry.

    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def sha256_of(value: object) -> str:
    """Return the hex sha256 of *value*'s canonical JSON; bytes are hashed as they are."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    return hashlib.sha256(data).hexdigest()


def short(digest: str) -> str:
    """Return the first 16 hex digits, enough to name a folder or to print."""
    return digest[:16]


def without(value: Mapping[str, object], *keys: str) -> dict[str, object]:
    """Return a copy of *value* without the top-level *keys*."""
    return {key: item for key, item in value.items() if key not in keys}
