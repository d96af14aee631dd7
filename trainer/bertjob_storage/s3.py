"""S3 and servers that speak it, through boto3."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config

from bertjob_storage import files, uris
from bertjob_storage.protocol import Entry, NotFoundError, PreconditionError
from bertjob_storage.s3_errors import translated
from bertjob_storage.settings import S3Settings

_MEBIBYTE: Final = 1024 * 1024
_TRANSFER: Final = TransferConfig(
    multipart_threshold=16 * _MEBIBYTE,
    multipart_chunksize=16 * _MEBIBYTE,
    max_concurrency=8,
)
"""Parts large enough that 10,000 of them hold 160 GB, and enough at once to fill a 10 Gb/s link."""
_CHECKSUM: Final = {"ChecksumAlgorithm": "SHA256"}
"""The server recomputes it, so damage on the way is refused instead of stored."""


def connect(settings: S3Settings) -> Any:
    """Return a boto3 client; it opens connections when it is used, and any thread may use it."""
    config = Config(
        signature_version=UNSIGNED if settings.anonymous else "s3v4",
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=32,
        s3={"addressing_style": _addressing(settings)},
    )
    session = boto3.session.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        aws_session_token=settings.session_token,
        region_name=settings.region,
    )
    return session.client("s3", endpoint_url=settings.endpoint, config=config, verify=settings.verify)


def _addressing(settings: S3Settings) -> Literal["auto", "virtual", "path"]:
    if settings.endpoint is None:
        return "auto"
    return "virtual" if settings.virtual_bucket else "path"


class S3Storage:
    """Objects of every bucket that one account reaches."""

    def __init__(self, client: Any, *, endpoint: str | None) -> None:
        self._client = client
        self._endpoint = endpoint
        """For messages only."""

    def get(self, uri: str) -> bytes:
        """See ``Storage.get``."""
        bucket, key = uris.bucket_and_key(uri)
        with translated(uri, endpoint=self._endpoint):
            data: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    def etag(self, uri: str) -> str | None:
        """See ``Storage.etag``."""
        bucket, key = uris.bucket_and_key(uri)
        try:
            with translated(uri, endpoint=self._endpoint):
                return str(self._client.head_object(Bucket=bucket, Key=key)["ETag"])
        except NotFoundError:
            return None

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``Storage.put``."""
        bucket, key = uris.bucket_and_key(uri)
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_match} if if_match is not None else {}
        try:
            with translated(uri, endpoint=self._endpoint):
                answer = self._client.put_object(Bucket=bucket, Key=key, Body=data, **_CHECKSUM, **condition)
        except NotFoundError as error:  # S3 answers NoSuchKey when IfMatch meets nothing
            raise PreconditionError(f"{uri}: was deleted by another writer; read it again") from error
        return str(answer["ETag"])

    def upload(self, uri: str, path: Path) -> None:
        """See ``Storage.upload``."""
        bucket, key = uris.bucket_and_key(uri)
        with translated(uri, endpoint=self._endpoint), path.open("rb") as file:
            self._client.upload_fileobj(file, bucket, key, ExtraArgs=_CHECKSUM, Config=_TRANSFER)

    def download(self, uri: str, path: Path) -> None:
        """See ``Storage.download``."""
        bucket, key = uris.bucket_and_key(uri)
        with (
            translated(uri, endpoint=self._endpoint),
            files.appearing(path) as temporary,
            temporary.open("wb") as file,
        ):
            self._client.download_fileobj(bucket, key, file, Config=_TRANSFER)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See ``Storage.list``."""
        bucket, key = uris.bucket_and_key(prefix)
        with translated(prefix, endpoint=self._endpoint):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
                for item in page.get("Contents", ()):
                    if not item["Key"].endswith("/"):  # markers that consoles make for empty folders
                        yield Entry(f"s3://{bucket}/{item['Key']}", int(item["Size"]), str(item["ETag"]))

    def delete(self, uri: str) -> None:
        """See ``Storage.delete``."""
        bucket, key = uris.bucket_and_key(uri)
        try:
            with translated(uri, endpoint=self._endpoint):
                self._client.delete_object(Bucket=bucket, Key=key)
        except NotFoundError:
            return
