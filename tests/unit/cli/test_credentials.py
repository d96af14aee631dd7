"""The storage Secret says the same to boto3 and to KServe."""

import base64

import pytest
from support.jobs import a_job

from bertjob_api.job import parse_job
from bertjob_cli import credentials, placing

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_keys_and_annotations() -> None:
    """Keys stand in the data, endpoint and region in KServe's annotations too."""
    env = {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_REGION": "eu-west-1", "HOME": "/root"}

    found = credentials.secret("store", "team", env=env)

    assert found["metadata"] == {
        "name": "store",
        "namespace": "team",
        "annotations": {
            "serving.kserve.io/s3-endpoint": "127.0.0.1:9000",
            "serving.kserve.io/s3-usehttps": "0",
            "serving.kserve.io/s3-verifyssl": "0",
            "serving.kserve.io/s3-region": "eu-west-1",
        },
    }
    assert {key: base64.b64decode(value).decode() for key, value in found["data"].items()} == {
        key: value for key, value in env.items() if key.startswith("AWS_")
    }


def test_cloud_storage_needs_no_annotations() -> None:
    """Without an endpoint KServe's defaults, those of AWS, hold."""
    assert "annotations" not in credentials.secret("store", "team", env=KEYS)["metadata"]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: not set"),
        ({"AWS_ACCESS_KEY_ID": "id"}, "^AWS_SECRET_ACCESS_KEY: not set"),
        ({**KEYS, "AWS_SESSION_TOKEN": "t"}, "expire"),
        ({**KEYS, "AWS_ENDPOINT_URL": "minio:9000"}, "AWS_ENDPOINT_URL: got 'minio:9000'"),
    ],
    ids=["none", "half", "temporary", "endpoint"],
)
def test_unusable_credentials_are_refused(env: dict[str, str], said: str) -> None:
    """What could not work later is refused now, without repeating a secret."""
    with pytest.raises(ValueError, match=said) as caught:
        credentials.secret("store", "team", env=env)

    assert "secret" not in str(caught.value)


def test_run_with_a_folder_needs_no_secret() -> None:
    """--storage DIR drops what only S3 needs and makes the prefix a file URI."""
    value = placing.with_storage(a_job(storage={"secretRef": {"name": "store"}, "region": "x"}), "/data dir")

    job = parse_job(value, local=True)

    assert value["spec"]["storage"] == {"prefix": "file:///data%20dir"}
    assert placing.storage_secret(job, {}) is None
    assert placing.storage_problem(job, {}) is None


def test_run_with_s3_needs_keys() -> None:
    """A bucket without keys in this shell is refused before anything starts, and with keys becomes the job's Secret."""
    job = parse_job(placing.with_storage(a_job(storage={"secretRef": {"name": "store"}}), "s3://mine/x"), local=True)

    assert "AWS_ACCESS_KEY_ID is not set" in str(placing.storage_problem(job, {}))
    assert placing.storage_secret(job, KEYS) == credentials.secret("store", "default", env=KEYS)
