"""Checkpoints on a real S3 server that fails: retried, or one clear error and the older checkpoint; never a wrong one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support import faulty_s3, s3_gateway
from support.faulty_s3 import FaultyS3

from bertjob_storage import open_storage
from bertjob_storage.protocol import AccessError, FullError, StorageError
from bertjob_trainer.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultyS3, dict[str, str]]]:
    with (
        s3_gateway.running(tmp_path_factory.mktemp("s3")) as gateway,
        faulty_s3.before(gateway.endpoint) as (faulty, url),
    ):
        yield faulty, {**gateway.env, "AWS_ENDPOINT_URL": url}


@pytest.fixture
def checkpoints(proxied: tuple[FaultyS3, dict[str, str]], tmp_path: Path) -> Checkpoints:
    faulty, env = proxied
    faulty.fault, faulty.failed = None, 0
    uri = f"s3://{s3_gateway.BUCKET}/{tmp_path.name}"
    return Checkpoints(open_storage(uri, env), uri, 3, 0, "run-a")


def save(target: Checkpoints, step: int) -> None:
    target.save(
        {"weight": torch.full((1000,), float(step))},
        {"at": step},
        step=step,
        total_steps=9,
        world_size=1,
        samples_seen=step,
    )


def resumed(target: Checkpoints) -> int:
    """Return the step that is resumed from, after checking that its content is what was saved."""
    manifest = target.latest()
    assert manifest is not None
    state, meta = target.load(manifest)
    assert torch.equal(state["weight"], torch.full((1000,), float(manifest.step)))
    assert meta == {"at": manifest.step}
    return manifest.step


@pytest.mark.parametrize("fault", ["500", "busy", "reset"])
def test_passing_faults_are_retried(
    checkpoints: Checkpoints, proxied: tuple[FaultyS3, dict[str, str]], fault: str
) -> None:
    """With every fifth request failing, checkpoints are written, listed and read as without."""
    faulty, _ = proxied
    faulty.fault, faulty.every = fault, 5
    for step in (1, 2):
        save(checkpoints, step)
    committed = checkpoints.wait()
    assert committed is not None
    assert committed.step == 2
    assert resumed(checkpoints) == 2
    assert faulty.failed >= 2


@pytest.mark.parametrize(
    ("fault", "kind", "words"), [("403", AccessError, "no permission"), ("full", FullError, "is full")]
)
def test_lasting_faults_end_in_one_clear_error(
    checkpoints: Checkpoints, proxied: tuple[FaultyS3, dict[str, str]], fault: str, kind: type[StorageError], words: str
) -> None:
    """What trying again does not cure stops training with its cause, and the checkpoint before is whole."""
    faulty, _ = proxied
    save(checkpoints, 1)
    checkpoints.wait()
    faulty.fault, faulty.every = fault, 1
    save(checkpoints, 2)
    with pytest.raises(kind, match=words):
        save(checkpoints, 3)
    faulty.fault = None
    assert resumed(checkpoints) == 1
