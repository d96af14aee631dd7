"""Which storage serves a URI."""

import os
from collections.abc import Mapping

from bertjob_storage import uris
from bertjob_storage.local import LocalStorage
from bertjob_storage.protocol import Storage


def open_storage(uri: str, env: Mapping[str, str] = os.environ) -> Storage:
    """
    Return the storage that serves *uri*, and every other URI of the same scheme and account.

    Nothing is sent yet: wrong credentials show at the first use.

    Args:
        uri: ``s3://...`` or ``file:///...``; only its scheme counts.
        env: S3 settings, see ``settings.from_env``.

    Raises:
        ValueError: no storage serves this scheme, or a setting is malformed.

    """
    scheme = uris.scheme_of(uri)
    if scheme == "file":
        return LocalStorage()
    if scheme == "s3":
        # boto3 takes half a second to import and a local run has no use for it.
        from bertjob_storage.s3 import S3Storage, connect  # noqa: PLC0415
        from bertjob_storage.settings import from_env  # noqa: PLC0415

        settings = from_env(env)
        return S3Storage(connect(settings), endpoint=settings.endpoint)
    raise ValueError(
        f"storage URI: got {uri!r}, expected s3://bucket/key or file:///path; copy the data there and name that URI"
    )
