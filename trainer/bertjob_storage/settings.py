"""
S3 settings from the environment, in the spellings of boto3 and of KServe's storage initializer.

Source: KServe ``pkg/credentials/s3`` (names and defaults of the S3_* variables); AWS SDKs and Tools Reference Guide (AWS_*).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

DEFAULT_REGION: Final = "us-east-1"
"""S3-compatible servers ignore the region, but a signature needs one."""
_FALSE: Final = ("0", "false", "no", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """How to reach an S3 server."""

    endpoint: str | None
    """URL of an S3-compatible server; None: AWS."""
    region: str
    access_key_id: str | None
    """None: the SDK's own chain (cloud identity, profile)."""
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    anonymous: bool = False
    """Send unsigned requests."""
    virtual_bucket: bool = False
    """Put the bucket into the host name of a custom endpoint."""
    verify: bool | str = True
    """Check TLS certificates; a string names the CA bundle."""


def from_env(env: Mapping[str, str]) -> S3Settings:
    """Return the settings in *env*. Raises ValueError for a malformed endpoint or half of a key pair."""
    access, secret = env.get("AWS_ACCESS_KEY_ID") or None, env.get("AWS_SECRET_ACCESS_KEY") or None
    if (access is None) != (secret is None):
        missing = "AWS_ACCESS_KEY_ID" if access is None else "AWS_SECRET_ACCESS_KEY"
        raise ValueError(
            f"{missing}: is missing beside its other half; put both keys into the storage Secret, or none for cloud identity"
        )
    return S3Settings(
        endpoint=_endpoint(env),
        region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or DEFAULT_REGION,
        access_key_id=access,
        secret_access_key=secret,
        session_token=env.get("AWS_SESSION_TOKEN") or None,
        anonymous=_is_set(env, "awsAnonymousCredential", default=False),
        virtual_bucket=_is_set(env, "S3_USE_VIRTUAL_BUCKET", default=False),
        verify=(env.get("AWS_CA_BUNDLE") or True) if _is_set(env, "S3_VERIFY_SSL", default=True) else False,
    )


def _endpoint(env: Mapping[str, str]) -> str | None:
    url = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""
    if not url and (host := env.get("S3_ENDPOINT")):
        scheme = "https" if _is_set(env, "S3_USE_HTTPS", default=True) else "http"
        url = host if "://" in host else f"{scheme}://{host}"
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(
            f"AWS_ENDPOINT_URL: got {url!r}, expected http://host:port or https://host; put the scheme before it"
        )
    return url.rstrip("/") or None


def _is_set(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = env.get(name)
    return default if value is None else value.lower() not in _FALSE
