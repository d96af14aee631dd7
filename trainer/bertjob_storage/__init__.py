"""Bytes in a folder or in S3: one protocol, digests, conditional writes."""

from bertjob_storage.opening import open_storage

__all__ = ["open_storage"]
