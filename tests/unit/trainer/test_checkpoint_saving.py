"""Saving and finding checkpoints, on a folder."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bertjob_api.layout import checkpoint_root, step_folder
from bertjob_api.manifest import MANIFEST
from bertjob_storage.local import LocalStorage
from bertjob_storage.protocol import AccessError, FullError, StorageError
from bertjob_trainer.checkpoint import Checkpoints, FencedError
from bertjob_trainer.checkpoint.layout import LATEST, Pointer

State = dict[str, torch.Tensor]


class Recording(LocalStorage):
    """A folder that notes the order of writes and can be told to fail or to wait."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.error: StorageError | None = None
        self.gate = threading.Event()
        self.gate.set()

    def put(self, uri: str, data: bytes, **conditions: Any) -> str:
        """Note, wait, fail or write."""
        self.gate.wait()
        if self.error is not None:
            raise self.error
        self.writes.append(uri.rpartition("/")[2])
        return super().put(uri, data, **conditions)

    def upload(self, uri: str, path: Path) -> None:
        """Note and write."""
        self.writes.append(uri.rpartition("/")[2])
        super().upload(uri, path)


@pytest.fixture
def storage() -> Recording:
    return Recording()


@pytest.fixture
def run(tmp_path: Path) -> str:
    return f"file://{tmp_path}/run-a"


def checkpoints(storage: Recording, run: str, *, attempt: int = 0, keep: int = 2, name: str = "run-a") -> Checkpoints:
    return Checkpoints(storage, run, keep, attempt, name)


def state_of(value: float) -> State:
    return {
        "weight": torch.full((3, 4), value),
        "half": torch.full((5,), value, dtype=torch.bfloat16),
        "count": torch.tensor(7, dtype=torch.int64),
        "mask": torch.tensor([True, False, True]),
        "empty": torch.empty(0, 3),
        "transposed": torch.arange(6.0).reshape(2, 3).t(),
    }


def save(target: Checkpoints, step: int, value: float | None = None) -> None:
    state = state_of(float(step) if value is None else value)
    target.save(state, {"position": step}, step=step, total_steps=100, world_size=2, samples_seen=step * 8)


def steps_of(run: str) -> list[str]:
    root = Path(checkpoint_root(run)[7:])
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_state_comes_back_exactly(storage: Recording, run: str) -> None:
    """Every dtype and shape, and the metadata, come back bit for bit."""
    writer = checkpoints(storage, run)
    save(writer, 5)
    done = writer.wait()
    assert done is not None
    assert (done.step, done.uri) == (5, f"{checkpoint_root(run)}/{step_folder(5)}")
    reader = checkpoints(storage, run)
    manifest = reader.latest()
    assert manifest is not None
    assert (manifest.step, manifest.total_steps, manifest.world_size, manifest.samples_seen) == (5, 100, 2, 40)
    state, meta = reader.load(manifest)
    assert meta == {"position": 5}
    assert state.keys() == state_of(5.0).keys()
    for name, tensor in state_of(5.0).items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor)


def test_nothing_saved(storage: Recording, run: str) -> None:
    """Without a checkpoint latest and wait give None."""
    fresh = checkpoints(storage, run)
    assert (fresh.latest(), fresh.wait(), fresh.committed) == (None, None, None)


def test_manifest_is_written_last(storage: Recording, run: str) -> None:
    """Shards and metadata go before the manifest, the pointer after it."""
    writer = checkpoints(storage, run)
    save(writer, 5)
    writer.wait()
    assert storage.writes[-2:] == [MANIFEST, LATEST]
    assert storage.writes[0].startswith("shard-")
    assert storage.writes[1].startswith("meta-")


def test_shards_are_plain_safetensors(storage: Recording, run: str, tmp_path: Path) -> None:
    """The reference library reads our shards."""
    writer = checkpoints(storage, run)
    save(writer, 5)
    done = writer.wait()
    assert done is not None
    (shard,) = Path(done.uri[7:]).glob("*.safetensors")
    assert torch.equal(load_file(shard)["weight"], torch.full((3, 4), 5.0))


def test_state_may_change_while_it_uploads(storage: Recording, run: str) -> None:
    """What is committed is the state at the call, although training goes on once it is copied, before the upload ends."""
    writer = checkpoints(storage, run)
    state = {"weight": torch.zeros(4)}
    storage.gate.clear()
    writer.save(state, {}, step=1, total_steps=2, world_size=1, samples_seen=1)
    writer.copied()
    state["weight"].fill_(9)
    assert writer.committed is None
    storage.gate.set()
    writer.wait()
    manifest = writer.latest()
    assert manifest is not None
    assert torch.equal(writer.load(manifest)[0]["weight"], torch.zeros(4))


def test_retention(storage: Recording, run: str) -> None:
    """Only the newest commits stay, and abandoned uploads that are older go too."""
    writer = checkpoints(storage, run, keep=2)
    storage.put(f"{checkpoint_root(run)}/{step_folder(1)}/shard-00000-x.safetensors", b"abandoned")
    for step in (2, 4, 6):
        save(writer, step)
    writer.wait()
    assert steps_of(run) == [step_folder(4), step_folder(6)]


def test_older_attempt_is_fenced(storage: Recording, run: str) -> None:
    """After a newer attempt committed, an older one can neither commit nor move the pointer."""
    old, new = checkpoints(storage, run, attempt=0), checkpoints(storage, run, attempt=1)
    save(old, 4)
    old.wait()
    save(new, 2)
    new.wait()
    save(old, 6)
    with pytest.raises(FencedError, match="attempt 1 has taken over, this is attempt 0"):
        old.wait()
    pointer = storage.get(f"{checkpoint_root(run)}/{LATEST}")
    assert Pointer.from_json(pointer) == Pointer(attempt=1, step=2)
    assert step_folder(6) not in steps_of(run)


def test_fenced_attempt_stops_at_its_next_save(storage: Recording, run: str) -> None:
    """The training loop learns of the fence without waiting for uploads."""
    old, new = checkpoints(storage, run, attempt=0), checkpoints(storage, run, attempt=1)
    save(new, 2)
    new.wait()
    save(old, 6)
    with pytest.raises(FencedError):
        save(old, 8)


def test_same_step_twice_keeps_the_first(storage: Recording, run: str) -> None:
    """A second writer of a committed step replaces nothing and leaves no files."""
    first, second = checkpoints(storage, run), checkpoints(storage, run)
    save(first, 4, value=1.0)
    first.wait()
    save(second, 4, value=2.0)
    done = second.wait()
    assert done is not None
    assert done.step == 4
    manifest = second.latest()
    assert manifest is not None
    assert float(second.load(manifest)[0]["weight"][0, 0]) == 1.0
    assert len(list(Path(done.uri[7:]).glob("*"))) == 3


def test_passing_failure_is_survived(storage: Recording, run: str, caplog: pytest.LogCaptureFixture) -> None:
    """An outage costs the checkpoint of that time and is logged; the next one is saved."""
    writer = checkpoints(storage, run)
    storage.error = StorageError("the store is away")
    save(writer, 2)
    with pytest.raises(StorageError, match="away"):
        writer.wait()
    save(writer, 4)
    while writer._pending is not None and not writer._pending.done():
        pass
    storage.error = None
    save(writer, 6)
    assert "checkpoint before step 6 was not saved: the store is away" in caplog.text
    done = writer.wait()
    assert done is not None
    assert done.step == 6


@pytest.mark.parametrize("kind", [AccessError, FullError])
def test_hopeless_failure_stops_training(kind: type[StorageError], storage: Recording, run: str) -> None:
    """Refused credentials and full storage are raised at the next save, since every later one would fail too."""
    writer = checkpoints(storage, run)
    storage.error = kind("cannot be written")
    save(writer, 2)
    with pytest.raises(kind):
        save(writer, 4)


def test_committed_never_raises(storage: Recording, run: str) -> None:
    """The newest commit can be asked for progress reports even while an upload has failed; wait tells the failure."""
    writer = checkpoints(storage, run)
    save(writer, 2)
    writer.wait()
    storage.error = StorageError("away")
    save(writer, 4)
    with pytest.raises(StorageError):
        writer.wait()
    assert writer.committed is not None
    assert writer.committed.step == 2


@pytest.fixture(autouse=True)
def _no_scratch_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Hold every test to leaving no scratch folders of saves behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield
    assert list(scratch.glob("bertjob-checkpoint-*")) == []
