"""Bytes in a folder or in S3: one protocol, digests, conditional writes."""
