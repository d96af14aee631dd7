"""Storage URIs taken apart: ``s3://bucket/key`` and ``file:///path``, spelled literally (no percent-encoding)."""

import re
from pathlib import Path
from typing import Final

_BUCKET: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")


def scheme_of(uri: str) -> str:
    """Return what stands before ``://``; "" when nothing does."""
    head, separator, _ = uri.partition("://")
    return head if separator else ""


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URI; the key is "" for the bucket itself. Raises ValueError."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or _BUCKET.match(bucket) is None:
        raise ValueError(f"storage URI: got {uri!r}, expected s3://bucket/key; write the bucket's name after s3://")
    return bucket, key


def path_of(uri: str) -> Path:
    """Return the path of a ``file://`` URI. Raises ValueError."""
    scheme, _, rest = uri.partition("://")
    if scheme != "file" or not rest.startswith("/"):
        raise ValueError(f"storage URI: got {uri!r}, expected file:///path; write an absolute path with three slashes")
    if ".." in rest.split("/"):
        raise ValueError(f"storage URI: {uri!r} contains ..; write the path without it")
    return Path(rest)


def join(uri: str, *names: str) -> str:
    """Return the URI of something below *uri*."""
    return "/".join((uri.rstrip("/"), *names))
