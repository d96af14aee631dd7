"""URIs and S3 settings."""

from pathlib import Path

import pytest

from bertjob_storage import open_storage, settings, uris


def test_s3_uri_is_taken_apart() -> None:
    """Everything after the bucket is the key."""
    assert uris.bucket_and_key("s3://bucket/a/b") == ("bucket", "a/b")
    assert uris.bucket_and_key("s3://bucket") == ("bucket", "")


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "bucket/key", "file:///x", "s3://-b/k"])
def test_malformed_s3_uris_are_refused(uri: str) -> None:
    """The message shows what was given and what is expected."""
    with pytest.raises(ValueError, match="expected s3://bucket/key"):
        uris.bucket_and_key(uri)


def test_file_uri_is_a_path() -> None:
    """Only absolute paths without .. are accepted."""
    assert uris.path_of("file:///a/b") == Path("/a/b")
    for uri in ("file://a/b", "file:/a", "/a"):
        with pytest.raises(ValueError, match="expected file:///path"):
            uris.path_of(uri)
    with pytest.raises(ValueError, match=r"contains \.\."):
        uris.path_of("file:///a/../b")


@pytest.mark.parametrize("uri", ["hf://org/name", "/a", "gs://b/k", ""])
def test_unknown_schemes_are_refused(uri: str) -> None:
    """The message says which schemes there are."""
    with pytest.raises(ValueError, match="expected s3://bucket/key or file:///path"):
        open_storage(uri, {})


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({}, None),
        ({"AWS_ENDPOINT_URL": "http://a:1/"}, "http://a:1"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:2"}, "http://b:2"),
        ({"S3_ENDPOINT": "a:1", "S3_USE_HTTPS": "0"}, "http://a:1"),
        ({"S3_ENDPOINT": "a:1", "S3_USE_HTTPS": "1"}, "https://a:1"),
        ({"S3_ENDPOINT": "a:1"}, "https://a:1"),
        ({"S3_ENDPOINT": "http://a:1"}, "http://a:1"),
    ],
)
def test_endpoint_in_every_spelling(env: dict[str, str], endpoint: str | None) -> None:
    """boto3's variables come first, then those of KServe's storage initializer."""
    assert settings.from_env(env).endpoint == endpoint


def test_malformed_settings_are_refused() -> None:
    """An endpoint without scheme and half of a key pair are user errors that name the variable."""
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL: got 'a:1'"):
        settings.from_env({"AWS_ENDPOINT_URL": "a:1"})
    with pytest.raises(ValueError, match="AWS_SECRET_ACCESS_KEY: is missing"):
        settings.from_env({"AWS_ACCESS_KEY_ID": "a"})
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID: is missing"):
        settings.from_env({"AWS_SECRET_ACCESS_KEY": "a"})


def test_flags_of_kserve() -> None:
    """Region, certificate checks and anonymous access are read as KServe writes them."""
    read = settings.from_env(
        {"AWS_DEFAULT_REGION": "eu-1", "S3_VERIFY_SSL": "0", "awsAnonymousCredential": "true", "AWS_CA_BUNDLE": "/ca"}
    )
    assert (read.region, read.verify, read.anonymous) == ("eu-1", False, True)
    assert settings.from_env({"AWS_CA_BUNDLE": "/ca"}).verify == "/ca"


def test_secrets_stay_out_of_the_text() -> None:
    """The printed settings hold no secret."""
    read = settings.from_env({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_SESSION_TOKEN": "hush"})
    assert "hush" not in repr(read)
