"""A damaged checkpoint is never chosen."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bertjob_api.layout import checkpoint_root, step_folder
from bertjob_api.manifest import MANIFEST, CorruptError
from bertjob_storage import open_storage
from bertjob_trainer.checkpoint import Checkpoints

STEPS = (2, 4, 6)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    uri = f"file://{tmp_path}/run-a"
    writer = checkpoints(uri)
    for step in STEPS:
        state = {"weight": torch.full((64,), float(step)), "bias": torch.zeros(3)}
        writer.save(state, {"at": step}, step=step, total_steps=9, world_size=1, samples_seen=step)
    writer.wait()
    return uri


def checkpoints(uri: str, *, name: str = "run-a") -> Checkpoints:
    return Checkpoints(open_storage(uri), uri, len(STEPS), 0, name)


def folder_of(uri: str, step: int) -> Path:
    return Path(checkpoint_root(uri)[7:]) / step_folder(step)


def chosen(uri: str) -> int | None:
    """Return the step that is resumed from, after checking that its content is what was saved."""
    reader = checkpoints(uri)
    manifest = reader.latest()
    if manifest is None:
        return None
    state, meta = reader.load(manifest)
    assert torch.equal(state["weight"], torch.full((64,), float(manifest.step)))
    assert (meta, manifest.samples_seen) == ({"at": manifest.step}, manifest.step)
    return manifest.step


def dice_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def truncate(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


def flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def delete(path: Path, dice: random.Random) -> None:
    path.unlink()


def lengthen(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def swap(path: Path, dice: random.Random) -> None:
    """Exchange a file with the one of the same kind in the oldest folder."""
    kind = path.name.partition("-")[0]
    (other,) = (each for each in (path.parent.parent / step_folder(2)).iterdir() if each.name.startswith(kind))
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


@pytest.mark.parametrize(
    ("damage", "seed"),
    [(each, seed) for each in (truncate, flip) for seed in range(12)]
    + [(each, 0) for each in (delete, lengthen, swap)],
)
@pytest.mark.parametrize("kind", ["shard", "meta", "manifest"])
def test_damaged_newest_is_passed_over(
    run: str, damage: Callable[[Path, random.Random], None], kind: str, seed: int
) -> None:
    """Whatever file of the newest checkpoint is damaged in whatever way, the next older one is resumed from."""
    (path,) = (each for each in folder_of(run, 6).iterdir() if each.name.startswith(kind))
    damage(path, dice_of(seed))
    assert chosen(run) == 4


@pytest.mark.parametrize("seed", range(16))
def test_newest_of_what_is_left_is_chosen(run: str, seed: int) -> None:
    """Of many damages at once, none is resumed from: the newest untouched checkpoint is, or none where all are damaged."""
    dice, damaged = dice_of(seed), set[int]()
    for _ in range(dice.randint(1, 5)):
        step, damage = dice.choice(STEPS), dice.choice((truncate, flip, delete, lengthen))
        files = [path for path in sorted(folder_of(run, step).iterdir()) if path.stat().st_size]
        if files:
            damage(dice.choice(files), dice)
            damaged.add(step)
    assert chosen(run) == max(set(STEPS) - damaged, default=None)


def test_warning_says_what_was_found(run: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log names folder, file, got and expected."""
    (shard,) = folder_of(run, 6).glob("shard-*")
    flip(shard, dice_of(1))
    assert chosen(run) == 4
    assert step_folder(6) in caplog.text
    assert f"{shard.name} has sha256" in caplog.text


def test_all_damaged(run: str) -> None:
    """Without an intact checkpoint training starts afresh."""
    for step in STEPS:
        (folder_of(run, step) / MANIFEST).write_bytes(b"{}")
    assert chosen(run) is None


def test_other_run_is_refused(run: str, caplog: pytest.LogCaptureFixture) -> None:
    """Checkpoints of another run are not resumed from, although they are intact."""
    assert checkpoints(run, name="run-b").latest() is None
    assert "belongs to run run-a, expected run-b" in caplog.text


def test_damaged_step_is_written_again(run: str) -> None:
    """After resuming from before a damaged checkpoint, saving its step replaces it."""
    (shard,) = folder_of(run, 6).glob("shard-*")
    shard.unlink()
    writer = checkpoints(run)
    manifest = writer.latest()
    assert manifest is not None
    assert manifest.step == 4
    state = {"weight": torch.full((64,), 6.0), "bias": torch.zeros(3)}
    writer.save(state, {"at": 6}, step=6, total_steps=9, world_size=1, samples_seen=6)
    writer.wait()
    assert chosen(run) == 6


def test_damage_after_the_look_is_found_at_load(run: str) -> None:
    """A manifest from elsewhere whose files are damaged is refused by load, and latest then gives an older one."""
    manifest = checkpoints(run).latest()
    assert manifest is not None
    (shard,) = folder_of(run, 6).glob("shard-*")
    flip(shard, dice_of(2))
    reader = checkpoints(run)
    with pytest.raises(CorruptError, match="has sha256"):
        reader.load(manifest)
    older = reader.latest()
    assert older is not None
    assert older.step == 4


def test_load_keeps_files_where_asked(run: str, tmp_path: Path) -> None:
    """With a folder given, the verified files stay there."""
    reader = checkpoints(run)
    manifest = reader.latest()
    assert manifest is not None
    reader.load(manifest, tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(entry.path for entry in manifest.files)
