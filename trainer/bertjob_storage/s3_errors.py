"""
What S3 said, as storage errors with a next step.

Source: Amazon S3 API Reference, "Error responses" (codes); botocore ``exceptions.py`` (classes).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore import exceptions as sdk

from bertjob_storage import files
from bertjob_storage.protocol import (
    AccessError,
    FullError,
    NotFoundError,
    PreconditionError,
    StorageError,
)

_SENTENCES: Final[tuple[tuple[tuple[str, ...], type[StorageError], str], ...]] = (
    (
        ("NoSuchBucket",),
        AccessError,
        "{uri}: there is no bucket {bucket!r}; create it or correct spec.storage.prefix",
    ),
    (
        ("NoSuchKey", "NotFound", "404"),
        NotFoundError,
        "{uri}: there is no such object; check the URI, or whether it was written yet",
    ),
    (
        ("PreconditionFailed", "ConditionalRequestConflict", "412"),
        PreconditionError,
        "{uri}: exists already or was changed by another writer ({said}); read it again",
    ),
    (
        (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "AuthorizationHeaderMalformed",
            "XAdminUserNotFound",  # versitygw
        ),
        AccessError,
        "{uri}: wrong credentials ({said}); check the keys and the region in the storage Secret",
    ),
    (
        ("AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem", "403", "401"),
        AccessError,
        (
            "{uri}: no permission for {operation} ({said}); allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on "
            "bucket {bucket!r} for these credentials, and check that they are the right ones"
        ),
    ),
    (
        ("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "ServiceQuotaExceeded", "507"),
        FullError,
        "{uri}: storage is full ({said}); free space or raise the quota",
    ),
)
_OTHERWISE: Final = "{uri}: {operation} failed ({said}); try again"


@contextmanager
def translated(uri: str, *, endpoint: str | None) -> Iterator[None]:
    """Turn what the SDK raises into the storage error that says what happened to *uri*."""
    try:
        yield
    except sdk.ClientError as error:
        raise from_response(error, uri) from error
    except (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError) as error:
        raise AccessError(
            f"{uri}: no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the storage Secret"
        ) from error
    except sdk.FlexibleChecksumError as error:
        raise StorageError(f"{uri}: was damaged on the way ({_short(error)}); try again") from error
    except sdk.BotoCoreError as error:
        raise StorageError(
            f"{uri}: cannot reach {endpoint or 'AWS S3'} ({_short(error)}); check AWS_ENDPOINT_URL and that storage is up"
        ) from error
    except OSError as error:  # the local side of a transfer
        raise files.as_storage_error(error, f"{uri}: local file {error.filename or ''}".rstrip()) from error


def from_response(error: Any, uri: str) -> StorageError:
    """Return the storage error for an answer of the server that is not a success."""
    body = error.response.get("Error", {})
    code, text = str(body.get("Code", "")), str(body.get("Message", ""))[:300]
    kind, sentence = next(
        ((kind, sentence) for codes, kind, sentence in _SENTENCES if code in codes),
        (StorageError, _OTHERWISE),
    )
    bucket = uri.partition("://")[2].partition("/")[0]
    said = f"{code}: {text}" if text else code
    return kind(sentence.format(uri=uri, bucket=bucket, said=said, operation=error.operation_name))


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
