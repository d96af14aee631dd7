"""Checkpoints in a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support import s3_gateway

from bertjob_api.layout import checkpoint_root, step_folder
from bertjob_storage import open_storage
from bertjob_trainer.checkpoint import Checkpoints, FencedError


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_gateway.Gateway]:
    with s3_gateway.running(tmp_path_factory.mktemp("s3")) as running:
        yield running


def test_life_of_a_run(gateway: s3_gateway.Gateway, tmp_path: Path) -> None:
    """Save, retain, damage, fall back, replace and fence work on S3 as on a folder."""
    run = f"s3://{s3_gateway.BUCKET}/{tmp_path.name}"
    storage = open_storage(run, gateway.env)

    def save(target: Checkpoints, step: int) -> None:
        state = {"weight": torch.full((1000,), float(step))}
        target.save(state, {"at": step}, step=step, total_steps=9, world_size=1, samples_seen=step)
        target.wait()

    def resumed(target: Checkpoints) -> int:
        manifest = target.latest()
        assert manifest is not None
        state, meta = target.load(manifest)
        assert torch.equal(state["weight"], torch.full((1000,), float(manifest.step)))
        return int(meta["at"])

    first = Checkpoints(storage, run, 2, 0, "run-a")
    for step in (1, 2, 3):
        save(first, step)
    assert resumed(Checkpoints(storage, run, 2, 1, "run-a")) == 3
    assert [entry.uri for entry in storage.list(f"{checkpoint_root(run)}/{step_folder(1)}")] == []

    (shard,) = (each.uri for each in storage.list(f"{checkpoint_root(run)}/{step_folder(3)}/shard-"))
    storage.put(shard, storage.get(shard)[:-1] + b"\xff")
    second = Checkpoints(storage, run, 2, 1, "run-a")
    assert resumed(second) == 2
    save(second, 3)
    assert resumed(Checkpoints(storage, run, 2, 1, "run-a")) == 3
    with pytest.raises(FencedError):
        save(first, 4)
