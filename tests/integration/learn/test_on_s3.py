"""The whole training on a real S3 server: model, data, checkpoints and result."""

from pathlib import Path

import pytest
from support import s3_gateway, workers

from bertjob_api.termination import OK, USER_ERROR
from bertjob_storage import folders
from bertjob_storage.opening import open_storage

pytestmark = pytest.mark.cluster
PREFIX = f"s3://{s3_gateway.BUCKET}/team"


def test_inputs_and_results_in_s3(tmp_path: Path) -> None:
    """A model folder, a data folder and a single file are fetched from S3; the result of one job can start the next."""
    job = workers.a_toy_job(tmp_path / "local", epochs=1, checkpoint={"every": "3 steps"})
    job["spec"]["storage"] = {"prefix": PREFIX}
    job["spec"]["model"]["source"] = "storage://models/tiny"
    job["spec"]["data"] |= {"train": "storage://data/train", "validation": "storage://data/validation.jsonl"}
    with s3_gateway.running(tmp_path / "s3") as gateway:
        storage = open_storage(PREFIX, gateway.env)
        for path in (tmp_path / "local" / "source").iterdir():
            storage.upload(f"{PREFIX}/models/tiny/{path.name}", path)
        storage.put(f"{PREFIX}/models/tiny/pytorch_model.bin", b"never downloaded")
        storage.upload(f"{PREFIX}/data/train/part-0.jsonl", tmp_path / "local" / "train.jsonl")
        storage.upload(f"{PREFIX}/data/validation.jsonl", tmp_path / "local" / "validation.jsonl")

        ((code, log),) = workers.run(tmp_path, job, **gateway.env)
        assert code == OK, log
        first = workers.result_of(tmp_path).artifact
        assert first is not None
        assert folders.read_manifest(storage, first.uri, sha256=first.sha256).role == "trained"
        assert not list(tmp_path.rglob("bertjob-inputs/**/pytorch_model.bin"))

        job["spec"]["model"]["source"] = first.uri
        job["metadata"]["name"] = "second"
        ((code, log),) = workers.run(tmp_path, job, **gateway.env)
        assert code == OK, log

        (tmp_path / "result-0.json").unlink()
        job["spec"]["model"]["source"] = "storage://models/absent"
        ((code, log),) = workers.run(tmp_path, job, **gateway.env)
        failure = workers.result_of(tmp_path).failure

    assert code == USER_ERROR, log
    assert failure is not None
    assert failure.reason == "InvalidModel"
    assert f"{PREFIX}/models/absent holds no model file" in failure.message
